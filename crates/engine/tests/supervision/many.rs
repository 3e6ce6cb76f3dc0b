//! Many containers at once: each with its four events in order, and one connection per shim.

use crate::bed::{Bed, for_each_shim, run, subject};
use engine::ProcessId;
use std::{collections::HashMap, fs, sync::Arc};
use tests::Impl;

for_each_shim! { thirty_two_at_once_each_in_order }

const COUNT: usize = 32;

fn thirty_two_at_once_each_in_order(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = Arc::new(bed.open().await);
        let mut events = daemon.events();
        let before = sockets();
        let running: Vec<_> = (0..COUNT)
            .map(|n| {
                let daemon = Arc::clone(&daemon);
                tokio::spawn(async move { daemon.run(&format!("c{n}"), &["sleep", "1000"]).await })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        // Ours to the shim, and the shim's to us for its events.
        assert!(sockets() - before <= 2 * COUNT, "{} sockets for {COUNT} containers", sockets() - before);
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

/// How many sockets this process has open.
fn sockets() -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}
