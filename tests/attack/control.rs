//! Controls: one bound is turned off by configuration, and its attack must show damage. Otherwise
//! the program could not detect damage at all.

use std::time::Duration;

use crate::attacks::Attack;
use crate::ground::Ground;
use crate::report::{Phase, amount, faults};
use crate::run::{Tills, observe};

/// Runs an attack with its bound off. `Err` if it shows no damage.
pub fn run(attack: &Attack, quiet: &Phase, length: Duration) -> Result<(), String> {
    if attack.off.is_empty() {
        println!(
            "control {:<12} has no setting that turns its bound off",
            attack.name
        );
        return Ok(());
    }
    let ground = match Ground::prepare(attack.off) {
        Ok(ground) => ground,
        Err(ended) => {
            let last = ended.lines().last().unwrap_or_default();
            return Err(format!(
                "{}: the daemon rejects {:?}: {last}",
                attack.name, attack.off
            ));
        }
    };
    let phase = Tills::new().sell_while(&ground, |tills| {
        observe(&ground, tills, length, Some(attack))
    });
    let cost = phase.cost(attack.cost, quiet.per_sale());
    let (exceeds_bound, refused) = (cost > attack.bound, faults(&phase, quiet, true));
    println!(
        "control {:<12} costs {} of {} with its bound off{}",
        attack.name,
        amount(attack.cost, cost),
        amount(attack.cost, attack.bound),
        refused
            .first()
            .map(|fault| format!("; {fault}"))
            .unwrap_or_default()
    );
    if exceeds_bound || !refused.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "{}: no damage with its bound off: this program cannot detect damage",
            attack.name
        ))
    }
}
