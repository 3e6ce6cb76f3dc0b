//! What is left of the file when the power goes: all that was synced, and of the rest any part, in any
//! order, torn within pages.

use super::{
    Db, Key, Kind, Read as _, Reader,
    handle::{Handle, open},
};
use crate::NoEvents;
use redb::{BackendError, StorageBackend, backends::InMemoryBackend};
use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex},
};

/// Disks write sectors whole.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A file in memory that remembers what was done to it.
#[derive(Debug)]
struct Recorded {
    inner: InMemoryBackend,
    ops: Arc<Mutex<Vec<Op>>>,
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ops.lock().unwrap().push(Op::SetLen(len));
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.ops.lock().unwrap().push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ops.lock().unwrap().push(Op::Write(offset, data.to_vec()));
        self.inner.write(offset, data)
    }

    fn try_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Opens a database on a file with the content `bytes`.
fn start(bytes: &[u8], ops: &Arc<Mutex<Vec<Op>>>) -> model::Result<Db> {
    let (bytes, ops) = (bytes.to_vec(), Arc::clone(ops));
    let path = Path::new("memory");
    let handle = Handle::on(
        path,
        Box::new(move || {
            let inner = InMemoryBackend::new();
            inner.set_len(bytes.len() as u64).unwrap();
            inner.write(0, &bytes).unwrap();
            open(path, Recorded { inner, ops: Arc::clone(&ops) })
        }),
    )?;
    Db::start(handle, Arc::new(NoEvents), Box::new(|_| {}))
}

/// xorshift: the same cuts each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The file if the power goes after `ops`: all up to the last sync, the rest by chance.
fn after_cut(ops: &[Op], chance: &mut Chance) -> Vec<u8> {
    let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
    let mut file = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Sync => {}
            Op::SetLen(len) => file.resize(usize::try_from(*len).unwrap(), 0),
            Op::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    let start = start + number * SECTOR;
                    if file.len() < start + sector.len() {
                        file.resize(start + sector.len(), 0);
                    }
                    if at < synced || chance.below(2) == 0 {
                        file[start..start + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }
    file
}

fn key(at: u64) -> Key {
    Key::new(Kind::Image, &["n", &format!("{:02}", at % 40)])
}

fn contents(reader: &Reader) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    reader
        .each(&Key::prefix(Kind::Image, &["n"]), |path, value| {
            all.insert(path[1].to_owned(), value.to_vec());
            Ok(())
        })
        .unwrap();
    all
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_anywhere() {
    let ops = Arc::new(Mutex::new(Vec::new()));
    let db = start(&[], &ops).unwrap();
    // After each write: how many operations had been done, and what the database held.
    let mut states = vec![(ops.lock().unwrap().len(), BTreeMap::new())];
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for at in 0..120 {
        let value = vec![u8::try_from(at).unwrap(); usize::try_from(chance.below(9000)).unwrap()];
        let (soon, delete) = (chance.below(3) == 0, chance.below(4) == 0);
        db.write(move |tx| {
            match delete {
                true => tx.delete(&key(at)),
                false => tx.put(&key(at), value),
            }
            if soon {
                tx.durable_soon();
            }
            Ok(())
        })
        .unwrap();
        states.push((ops.lock().unwrap().len(), contents(&db.read().unwrap())));
    }
    drop(db);
    let ops = ops.lock().unwrap().clone();
    let first = states[0].0;
    for _ in 0..150 {
        let cut = first + usize::try_from(chance.below((ops.len() - first) as u64)).unwrap();
        let file = after_cut(&ops[..cut], &mut chance);
        let reopened = start(&file, &Arc::default()).unwrap_or_else(|error| panic!("cut after {cut}: {error}"));
        let found = contents(&reopened.read().unwrap());
        // One of the states since the last sync that was waited for: no older one, and no mixture.
        let synced = ops[..cut].iter().rposition(|op| matches!(op, Op::Sync)).unwrap_or(0);
        let oldest = states.iter().rposition(|(done, _)| *done <= synced + 1).unwrap();
        let oldest = last_durable(&states, &ops, oldest);
        let newest = states.iter().position(|(done, _)| *done > cut).unwrap_or(states.len() - 1);
        let at = states[oldest..=newest].iter().position(|(_, state)| *state == found);
        assert!(at.is_some(), "cut after {cut} of {}: none of the states {oldest} to {newest}", ops.len());
        // And it works on.
        reopened
            .write(|tx| {
                tx.put(&key(0), vec![]);
                Ok(())
            })
            .unwrap();
    }
}

/// The last state up to `at` whose write was not acknowledged before it was synced.
fn last_durable(states: &[(usize, BTreeMap<String, Vec<u8>>)], ops: &[Op], at: usize) -> usize {
    let synced_by = |state: usize| {
        let (begin, end) = (states[state - 1].0, states[state].0);
        ops[begin..end].iter().any(|op| matches!(op, Op::Sync))
    };
    (1..=at).rev().find(|state| synced_by(*state)).unwrap_or(0)
}
