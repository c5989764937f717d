//! L5: retention of log files. Like every deletion by age, it requires a trusted clock.

use super::retention::trusted_now;
use super::tenant_files::MaintenanceRefused;
use crate::app::App;
use crate::observe::logging;

/// The schedule of the removal of old log files, in the operator's time zone.
pub const LOGS_SCHEDULE: &str = "0 30 0 * * *";

/// Removes the log files that are older than the configured number of days. Blocks.
pub fn remove_old_logs(app: &App) -> Result<(), MaintenanceRefused> {
    let now = trusted_now(&app.stores, &app.ports)?;
    let removed = logging::remove_old(
        &app.config.log_dir(),
        app.config.logging.keep_days,
        now.as_millis(),
    );
    if removed > 0 {
        tracing::info!(files = removed, "old log files removed");
    }
    Ok(())
}
