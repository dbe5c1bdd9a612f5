//! The pool of Ruby workers: started when needed, reused, replaced when stuck, ended when idle.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::error::{Error, JobError, RenderErrors};
use crate::rendered::{RenderedInstance, RenderedJob};
use crate::request::RenderRequest;
use crate::worker::{Failure, JobAnswer, Worker};

/// Whose rules templates are evaluated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evaluator {
    /// A director's: `docs/spec/releases-and-templates.md` §14.
    Director,
    /// `create-env`'s (§17): the request's context holds one context per job, by the job's name; jobs get no file of
    /// links.
    CreateEnv,
}

impl Evaluator {
    fn script(self) -> &'static str {
        match self {
            Self::Director => crate::worker::SCRIPT,
            Self::CreateEnv => crate::worker::CREATE_ENV_SCRIPT,
        }
    }
}

/// How the pool behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The interpreter: a path, or a name to be found in PATH.
    pub ruby: PathBuf,
    /// How many processes there are at most.
    pub workers: usize,
    /// The longest that one instance may take.
    pub timeout: Duration,
    /// A worker unused for so long is ended: an idle director holds no Ruby in memory.
    pub idle: Duration,
    /// A worker is replaced after so many instances, because templates may leave things behind in it.
    pub recycle_after: u32,
    /// Address space of a worker in bytes.
    pub memory: u64,
    /// The rules of the evaluation.
    pub evaluator: Evaluator,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ruby: PathBuf::from("ruby"),
            workers: std::thread::available_parallelism()
                .map_or(2, usize::from)
                .min(8),
            timeout: Duration::from_secs(120),
            idle: Duration::from_secs(30),
            recycle_after: 2000,
            memory: 2 << 30,
            evaluator: Evaluator::Director,
        }
    }
}

/// Renders instances. Cheap to clone; nothing is started before the first request.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    permits: Semaphore,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    workers: Vec<(Instant, Worker)>,
    reaping: bool,
}

impl Pool {
    /// A pool without any process yet.
    pub fn new(options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                permits: Semaphore::new(options.workers.max(1)),
                options,
                idle: Mutex::default(),
            }),
        }
    }

    /// Renders all jobs of one instance. Waits for a free worker.
    pub async fn render(&self, request: &RenderRequest) -> Result<RenderedInstance, Error> {
        if request.jobs.is_empty() {
            return Ok(RenderedInstance { jobs: Vec::new() });
        }
        let line = request.to_line();
        // The semaphore is never closed.
        let _permit = self.inner.permits.acquire().await.ok();
        let answers = self.ask(request, &line).await?;
        collect(request, answers, self.inner.options.evaluator)
    }

    async fn ask(&self, request: &RenderRequest, line: &str) -> Result<Vec<JobAnswer>, Error> {
        let options = &self.inner.options;
        let jobs = || {
            let names: Vec<_> = request.jobs.iter().map(|job| job.name.as_str()).collect();
            names.join(", ")
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let mut worker = match self.take_idle() {
                Some(worker) => worker,
                None => {
                    let script = options.evaluator.script();
                    Worker::start(&options.ruby, options.memory, script).map_err(|source| {
                        Error::Ruby {
                            ruby: options.ruby.display().to_string(),
                            source,
                        }
                    })?
                }
            };
            match worker.ask(line, options.timeout).await {
                Ok(answers) => {
                    self.give_back(worker);
                    return Ok(answers);
                }
                // It may have been killed from outside while it waited; once more with another one.
                Err(Failure::Died { ended, .. }) if tries == 1 => {
                    tracing::warn!(group = %request.group, %ended, "a Ruby worker ended, trying another one");
                }
                Err(Failure::Died { ended, output }) => {
                    return Err(Error::Died {
                        group: request.group.clone(),
                        jobs: jobs(),
                        ended,
                        output,
                    });
                }
                Err(Failure::Timeout) => {
                    return Err(Error::Timeout {
                        group: request.group.clone(),
                        jobs: jobs(),
                        timeout: options.timeout,
                    });
                }
                Err(Failure::Answer(reason)) => {
                    return Err(Error::Answer {
                        group: request.group.clone(),
                        reason,
                    });
                }
            }
        }
    }

    /// How many worker processes wait for work.
    pub fn idle_workers(&self) -> usize {
        self.inner.idle().workers.len()
    }

    fn take_idle(&self) -> Option<Worker> {
        self.inner.idle().workers.pop().map(|(_, worker)| worker)
    }

    fn give_back(&self, worker: Worker) {
        if worker.served >= self.inner.options.recycle_after {
            return;
        }
        let mut idle = self.inner.idle();
        idle.workers.push((Instant::now(), worker));
        if !idle.reaping {
            idle.reaping = true;
            tokio::spawn(reap(Arc::downgrade(&self.inner), self.inner.options.idle));
        }
    }
}

impl Inner {
    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        // Pushes and pops can't leave it half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends workers that were unused for long, until none waits any more.
async fn reap(pool: std::sync::Weak<Inner>, after: Duration) {
    loop {
        tokio::time::sleep(after).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut idle = pool.idle();
        idle.workers.retain(|(since, _)| since.elapsed() < after);
        if idle.workers.is_empty() {
            idle.reaping = false;
            return;
        }
    }
}

fn collect(
    request: &RenderRequest,
    answers: Vec<JobAnswer>,
    evaluator: Evaluator,
) -> Result<RenderedInstance, Error> {
    if answers.len() != request.jobs.len() {
        return Err(Error::Answer {
            group: request.group.clone(),
            reason: format!("{} jobs instead of {}", answers.len(), request.jobs.len()),
        });
    }
    let mut jobs = Vec::new();
    let mut failed = Vec::new();
    for (job, answer) in request.jobs.iter().zip(answers) {
        let monit = match answer.monit.into_content() {
            Ok(monit) => monit,
            Err(error) => {
                failed.push(JobError::Monit(error));
                continue;
            }
        };
        let mut contents = Vec::new();
        let mut errors = Vec::new();
        for outcome in answer.templates {
            match outcome.into_content() {
                Ok(content) => contents.push(content),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            let mut rendered = RenderedJob::new(job, monit, contents);
            if evaluator == Evaluator::Director {
                rendered.add_links(&job.provides);
            }
            jobs.push(rendered);
        } else {
            failed.push(JobError::Templates {
                job: job.name.clone(),
                errors,
            });
        }
    }
    if failed.is_empty() {
        Ok(RenderedInstance { jobs })
    } else {
        Err(Error::Templates(RenderErrors {
            group: request.group.clone(),
            jobs: failed,
        }))
    }
}
