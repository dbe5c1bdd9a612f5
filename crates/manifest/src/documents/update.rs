//! `update` blocks (§1.5).

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::object::Object;
use super::{Problem, Problems, ReadOptions};

/// A complete update block: the global one, or a group's with the global one's values filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateConfig {
    pub canaries: Threshold,
    pub max_in_flight: Threshold,
    pub canary_watch_time: WatchTime,
    pub update_watch_time: WatchTime,
    pub serial: bool,
    pub vm_strategy: VmStrategy,
    pub initial_deploy_az_update_strategy: InitialAzStrategy,
}

/// A number or a percentage, kept as text until it is used: that is when the original complains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Threshold(pub String);

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchTime {
    pub min: u64,
    pub max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmStrategy {
    #[default]
    DeleteCreate,
    CreateSwapDelete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialAzStrategy {
    #[default]
    Serial,
    Parallel,
}

const STRATEGIES: &str = "create-swap-delete, delete-create";

impl UpdateConfig {
    /// The manifest's global block: everything but the last three keys is required.
    pub(super) fn read(
        value: &Json,
        path: &str,
        options: &ReadOptions,
    ) -> Result<UpdateConfig, Problems> {
        let object = Object::of(value, path)?;
        let mut problems = Problems::default();
        let mut text = |key| problems.take(object.string(key));
        let (canaries, max_in_flight) = (text("canaries"), text("max_in_flight"));
        let (canary_watch, update_watch) = (text("canary_watch_time"), text("update_watch_time"));
        let canary_watch = canary_watch.and_then(|t| problems.take(WatchTime::parse(&t)));
        let update_watch = update_watch.and_then(|t| problems.take(WatchTime::parse(&t)));
        let serial = problems.take(object.boolean("serial"));
        let strategy = problems.take(vm_strategy(&object));
        let initial = problems.take(initial_strategy(&object));
        let config = (|| {
            Some(UpdateConfig {
                canaries: options.canaries.clone().unwrap_or(Threshold(canaries?)),
                max_in_flight: options
                    .max_in_flight
                    .clone()
                    .unwrap_or(Threshold(max_in_flight?)),
                canary_watch_time: canary_watch?,
                update_watch_time: update_watch?,
                serial: serial?.unwrap_or(true),
                vm_strategy: strategy?
                    .or(options.default_vm_strategy)
                    .unwrap_or_default(),
                initial_deploy_az_update_strategy: initial?.unwrap_or_default(),
            })
        })();
        config.ok_or(problems)
    }

    /// A group's block over the global one. Overrides of the request beat both.
    pub(super) fn read_override(
        &self,
        value: Option<&Json>,
        path: &str,
        options: &ReadOptions,
    ) -> Result<UpdateConfig, Problem> {
        let mut config = self.clone();
        let Some(value) = value else {
            return Ok(config);
        };
        let object = Object::of(value, path)?;
        if let Some(text) = object.optional_string("canaries")?
            && options.canaries.is_none()
        {
            config.canaries = Threshold(text);
        }
        if let Some(text) = object.optional_string("max_in_flight")?
            && options.max_in_flight.is_none()
        {
            config.max_in_flight = Threshold(text);
        }
        if let Some(text) = object.optional_string("canary_watch_time")? {
            config.canary_watch_time = WatchTime::parse(&text)?;
        }
        if let Some(text) = object.optional_string("update_watch_time")? {
            config.update_watch_time = WatchTime::parse(&text)?;
        }
        if let Some(serial) = object.boolean("serial")? {
            config.serial = serial;
        }
        if let Some(strategy) = vm_strategy(&object)? {
            config.vm_strategy = strategy;
        }
        if let Some(strategy) = initial_strategy(&object)? {
            config.initial_deploy_az_update_strategy = strategy;
        }
        Ok(config)
    }
}

fn vm_strategy(object: &Object) -> Result<Option<VmStrategy>, Problem> {
    let Some(text) = object.optional_string("vm_strategy")? else {
        return Ok(None);
    };
    VmStrategy::parse(&text).map(Some).ok_or_else(|| {
        Problem::new(
            40005,
            format!("Invalid vm_strategy '{text}', valid strategies are: {STRATEGIES}"),
        )
        .at(object.path_of("vm_strategy"))
    })
}

fn initial_strategy(object: &Object) -> Result<Option<InitialAzStrategy>, Problem> {
    match object.optional_string("initial_deploy_az_update_strategy")?.as_deref() {
        None => Ok(None),
        Some("serial") => Ok(Some(InitialAzStrategy::Serial)),
        Some("parallel") => Ok(Some(InitialAzStrategy::Parallel)),
        Some(text) => Err(Problem::new(
            40005,
            format!(
                "Invalid initial_deploy_az_update_strategy '{text}', valid strategies are: 'parallel, serial'"
            ),
        )
        .at(object.path_of("initial_deploy_az_update_strategy"))),
    }
}

impl VmStrategy {
    /// Reads the name of a strategy.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "delete-create" => Some(VmStrategy::DeleteCreate),
            "create-swap-delete" => Some(VmStrategy::CreateSwapDelete),
            _ => None,
        }
    }
}

impl Threshold {
    /// Of a set of `size`: the number itself, or the percentage, cut off.
    ///
    /// # Errors
    /// Code 100 `cannot be calculated` for anything else.
    fn of(&self, size: usize) -> Result<usize, Problem> {
        let bad = || {
            Problem::new(100, "cannot be calculated").hint(format!(
                "'{}' in an update block should be a number or a percentage like 20%",
                self.0
            ))
        };
        let text = self.0.trim();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: usize = percent.parse().map_err(|_| bad())?;
                Ok(percent * size / 100)
            }
            None => text.parse().map_err(|_| bad()),
        }
    }

    /// As `canaries`: never more than there are.
    ///
    /// # Errors
    /// See [`Threshold::max_in_flight`].
    pub fn canaries(&self, size: usize) -> Result<usize, Problem> {
        Ok(self.of(size)?.min(size))
    }

    /// As `max_in_flight`: never below one.
    ///
    /// # Errors
    /// Code 100 `cannot be calculated` when it is neither a number nor a percentage.
    pub fn max_in_flight(&self, size: usize) -> Result<usize, Problem> {
        Ok(self.of(size)?.max(1))
    }

    /// Reads an override of the request (`canaries=2`, `max_in_flight=20%`).
    ///
    /// # Errors
    /// Code 100 with the original's text.
    pub fn from_request(key: &str, text: &str) -> Result<Self, Problem> {
        let threshold = Threshold(text.to_string());
        threshold
            .of(100)
            .map_err(|_| Problem::new(100, format!("{key} value should be integer or percent")))?;
        Ok(threshold)
    }
}

impl WatchTime {
    /// Reads `ms` or `min-max`.
    ///
    /// # Errors
    /// 180001 with the original's texts.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let bad = || {
            Problem::new(
                180001,
                "Watch time should be an integer or a range of two integers",
            )
            .hint(format!(
                "'{text}' is neither like 30000 nor like 1000-30000 (milliseconds)"
            ))
        };
        let number = |t: &str| t.trim().parse::<u64>().map_err(|_| bad());
        let (min, max) = match text.split_once('-') {
            Some((min, max)) => (number(min)?, number(max)?),
            None => (number(text)?, number(text)?),
        };
        if min > max {
            return Err(Problem::new(
                180001,
                "Min watch time cannot be greater than max watch time",
            ));
        }
        Ok(WatchTime { min, max })
    }

    /// The waits before each look at the agent's state, in milliseconds (§5.6): first `min`, then steps of a
    /// ninth of the rest, at least one second and at most fifteen.
    pub fn schedule(self) -> Vec<u64> {
        let rest = self.max - self.min;
        let step = (rest / 9).clamp(1000, 15000);
        let mut waits = vec![self.min];
        waits.extend((0..rest / step).map(|_| step));
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_times_become_the_originals_schedule() {
        assert_eq!(
            WatchTime::parse("1000 - 30000").unwrap().schedule().len(),
            1 + 9
        );
        assert_eq!(WatchTime::parse("5000").unwrap().schedule(), [5000]);
        assert_eq!(
            WatchTime::parse("200-3000").unwrap().schedule(),
            [200, 1000, 1000]
        );
        assert_eq!(WatchTime::parse("9-1").unwrap_err().code, 180001);
    }

    #[test]
    fn thresholds_are_counts_or_cut_off_percentages() {
        let t = |text: &str| Threshold(text.into());
        assert_eq!(t("50%").canaries(5).unwrap(), 2);
        assert_eq!(t("9").canaries(5).unwrap(), 5);
        assert_eq!(t("10%").max_in_flight(5).unwrap(), 1);
        assert_eq!(t("0").max_in_flight(5).unwrap(), 1);
        assert_eq!(
            t("a few").canaries(5).unwrap_err().message,
            "cannot be calculated"
        );
    }
}
