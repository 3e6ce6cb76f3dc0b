//! Many containers at once: each with its four events in order, and one connection per shim.

use crate::bed::{Bed, for_each_shim, run, subject};
use engine::ProcessId;
use std::{collections::HashMap, fs, path::Path, sync::Arc};
use tests::Impl;

for_each_shim! { thirty_two_at_once_each_in_order }

const COUNT: usize = 32;

fn thirty_two_at_once_each_in_order(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = Arc::new(bed.open().await);
        let mut events = daemon.events();
        let running: Vec<_> = (0..COUNT)
            .map(|n| {
                let daemon = Arc::clone(&daemon);
                tokio::spawn(async move { daemon.run(&format!("c{n}"), &["sleep", "1000"]).await })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        for n in 0..COUNT {
            assert_eq!(connections(&bed.bundle(&format!("c{n}"))), 1, "c{n}");
        }
        assert_eq!(daemon.engine.list_tasks(&daemon.scope).await.unwrap().len(), COUNT);
        assert_eq!(daemon.engine.metrics(&daemon.scope, &[]).await.unwrap().len(), COUNT);
        let ending: Vec<_> = (0..COUNT)
            .map(|n| {
                let daemon = Arc::clone(&daemon);
                tokio::spawn(async move {
                    let id = format!("c{n}");
                    daemon.end(&id).await;
                    daemon.engine.wait(&daemon.scope, &ProcessId::init(&id)).await.unwrap_err()
                })
            })
            .collect();
        for task in ending {
            assert!(task.await.unwrap().is_not_found());
        }
        let mut seen: HashMap<String, Vec<String>> = HashMap::new();
        for _ in 0..4 * COUNT {
            let Ok(envelope) = tokio::time::timeout(tests::PATIENCE, events.next()).await else {
                panic!("an event is missing: {seen:#?}")
            };
            let envelope = envelope.unwrap();
            seen.entry(subject(&envelope)).or_default().push(envelope.topic.clone());
        }
        assert_eq!(seen.len(), COUNT);
        for (id, topics) in seen {
            assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"], "{id}");
        }
    });
    bed.assert_clean();
}

/// How many connections the shim of `bundle` has accepted and still has.
fn connections(bundle: &Path) -> usize {
    const CONNECTED: &str = "03";
    let bootstrap: serde_json::Value =
        serde_json::from_slice(&fs::read(bundle.join("bootstrap.json")).unwrap()).unwrap();
    let path = bootstrap["address"].as_str().unwrap().strip_prefix("unix://").unwrap();
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(5) == Some(&CONNECTED) && row.get(7) == Some(&path)).count()
}
