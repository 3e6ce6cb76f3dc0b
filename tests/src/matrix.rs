//! Runs one test function on several combinations of daemon, shim and ctr, each as a test of its own.

/// `matrix! { tasks: a, b }` runs `fn a(bed: &mut Bed)` on every combination that differs for tasks.
///
/// - `tasks`: daemon × shim × ctr, the pairs worth telling apart;
/// - `storage`: daemon × ctr, for what no shim takes part in;
/// - `wire`: daemon only, for what no ctr takes part in;
/// - `shims`: daemon × shim with Go's ctr, for what looks behind ctr.
#[macro_export]
macro_rules! matrix {
    (tasks: $($test:ident),+ $(,)?) => { $( $crate::rows!($test:
        all_go(Go Go Go) ours(Ours Ours Go) our_ctr(Ours Ours Ours)
        our_daemon_go_shim(Ours Go Go) go_daemon_our_shim(Go Ours Go) go_daemon_our_ctr(Go Go Ours)
    ); )+ };
    (storage: $($test:ident),+ $(,)?) => { $( $crate::rows!($test:
        all_go(Go Go Go) ours(Ours Ours Go) our_ctr(Ours Ours Ours) go_daemon_our_ctr(Go Go Ours)
    ); )+ };
    (shims: $($test:ident),+ $(,)?) => { $( $crate::rows!($test:
        all_go(Go Go Go) ours(Ours Ours Go) our_daemon_go_shim(Ours Go Go) go_daemon_our_shim(Go Ours Go)
    ); )+ };
    (wire: $($test:ident),+ $(,)?) => { $( $crate::rows!($test: all_go(Go Go Go) ours(Ours Ours Go)); )+ };
}

/// One test function on the rows named: `rows!(test: all_go(Go Go Go))` is daemon, shim, ctr.
#[macro_export]
macro_rules! rows {
    ($test:ident: $($row:ident($daemon:ident $shim:ident $ctr:ident))+) => {
        mod $test {
            $(
                #[test]
                fn $row() {
                    let row = $crate::Row {
                        daemon: $crate::Impl::$daemon, shim: $crate::Impl::$shim, ctr: $crate::Impl::$ctr,
                    };
                    $crate::Bed::run(row, super::$test);
                }
            )+
        }
    };
}
