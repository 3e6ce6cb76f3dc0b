//! Tests that need a machine of their own: `make test-vm` makes what they use.
mod cgroup2;
mod power_cut;
