//! Black-box tests: a started daemon, driven from outside, on every combination of ours and Go's programs.
mod tasks;
