//! The restart monitor: keeps containers in the state that their labels ask for.
//!
//! ```text
//!  events ──poke──►┌──────────┐  one per labelled container: look at the task, act, sleep until
//!  scan ────poke──►│  Watcher │  something happened to it or the next step is due
//!                  └──────────┘
//! ```
//!
//! The labels are containerd's. An exit is answered when its event arrives, after a delay that
//! doubles while the container keeps failing. The scan, at a slow interval, is for what no event
//! told: what happened while no daemon ran.

mod change;
mod labels;
mod monitor;
mod watcher;

pub use monitor::RestartMonitor;
