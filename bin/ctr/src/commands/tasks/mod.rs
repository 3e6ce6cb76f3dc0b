//! `ctr tasks`

mod attach;
mod checkpoint;
mod delete;
mod exec;
mod kill;
mod list;
mod metrics;
mod pause;
mod ps;
mod resume;
mod start;

pub(crate) use start::{Beginning, begin};

super::verbs! {
    /// Attach to the IO of a running container
    Attach(attach::Attach),
    /// Checkpoint a container
    Checkpoint(checkpoint::Checkpoint),
    /// Delete one or more tasks
    #[command(visible_aliases = ["del", "remove", "rm"])]
    Delete(delete::Delete),
    /// Execute additional processes in an existing container
    Exec(exec::Exec),
    /// List tasks
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Signal a container (default: SIGTERM)
    Kill(kill::Kill),
    /// Get a single data point of metrics for a task with the built-in Linux runtime
    #[command(visible_alias = "metric")]
    Metrics(metrics::Metrics),
    /// Pause an existing container
    Pause(pause::Pause),
    /// List processes for container
    Ps(ps::Ps),
    /// Resume a paused container
    Resume(resume::Resume),
    /// Start a container that has been created
    Start(start::Start),
}
