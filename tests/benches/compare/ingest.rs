//! Many small blobs by several writers, as an image index or a build cache brings them.

use std::time::Instant;

use tests::Daemon;
use tests::api::Api;

use crate::table::Table;

const ROUNDS: usize = 3;
const WRITERS: usize = 8;
const BLOBS: usize = 1000;
const SIZE: usize = 4096;

pub(crate) fn run(table: &mut Table) {
    let daemons = crate::SIDES.map(crate::daemon);
    for round in 0..ROUNDS {
        for (side, daemon) in crate::SIDES.iter().zip(&daemons) {
            let wall = ingest(daemon, round);
            table.add(*side, "1,000 blobs of 4 KiB by 8 writers", "s", Some(0.5), wall);
        }
    }
}

fn ingest(daemon: &Daemon, round: usize) -> f64 {
    let apis: Vec<Api> = (0..WRITERS)
        .map(|writer| {
            let mut api = Api::connect(&daemon.socket(), daemon.namespace());
            api.hold_lease(&format!("bench-{round}-{writer}"));
            api
        })
        .collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (writer, api) in apis.iter().enumerate() {
            scope.spawn(move || {
                for count in 0..BLOBS / WRITERS {
                    let name = format!("{round}-{writer}-{count}");
                    let bytes = name.bytes().cycle().take(SIZE).collect::<Vec<u8>>();
                    api.ingest(&name, &bytes).expect("ingest");
                }
            });
        }
    });
    start.elapsed().as_secs_f64()
}
