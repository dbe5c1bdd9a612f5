//! Lock rows: a lease, an owner, a queue of those who wait (operations.md §1.3).

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Error, Store};

/// Channel that wakes those who wait; the payload is the lock's name.
pub const RELEASED: &str = "bosun_lock_released";

/// A held lock.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LockRow {
    pub name: String,
    pub uid: Uuid,
    pub task_id: Option<i64>,
    pub expires_at: DateTime<Utc>,
}

impl Store {
    /// Takes the lock if it is free, expired, or held by an earlier life of the same task, and nobody queued
    /// before us is still waiting. A waiter's own place in the queue is renewed or, on success, removed.
    pub async fn try_lock(
        &self,
        name: &str,
        uid: Uuid,
        task: Option<i64>,
        owner: &str,
        lease: Duration,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        // One decision at a time per name, whoever decides.
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7))")
            .bind(name)
            .execute(&mut *tx)
            .await?;
        sqlx::query("delete from lock_waiters where name = $1 and expires_at < now()")
            .bind(name)
            .execute(&mut *tx)
            .await?;
        let first: Option<Uuid> =
            sqlx::query_scalar("select uid from lock_waiters where name = $1 order by id limit 1")
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?;
        let mut taken = false;
        if first.is_none_or(|first| first == uid) {
            let done = sqlx::query(
                "insert into locks (name, uid, task_id, owner, expires_at)
                 values ($1, $2, $3, $4, now() + make_interval(secs => $5))
                 on conflict (name) do update
                   set uid = excluded.uid, task_id = excluded.task_id, owner = excluded.owner,
                       acquired_at = now(), expires_at = excluded.expires_at
                   where locks.expires_at < now()
                      or (locks.task_id = excluded.task_id and locks.owner <> excluded.owner)",
            )
            .bind(name)
            .bind(uid)
            .bind(task)
            .bind(owner)
            .bind(lease.as_secs_f64())
            .execute(&mut *tx)
            .await?;
            taken = done.rows_affected() == 1;
        }
        if taken {
            sqlx::query("delete from lock_waiters where uid = $1")
                .bind(uid)
                .execute(&mut *tx)
                .await?;
        } else {
            // A waiter that does not come back within a few tries is dead.
            sqlx::query(
                "insert into lock_waiters (name, uid, task_id, owner, expires_at)
                 values ($1, $2, $3, $4, now() + interval '5 seconds')
                 on conflict (uid) do update set expires_at = excluded.expires_at",
            )
            .bind(name)
            .bind(uid)
            .bind(task)
            .bind(owner)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// Gives up a place in the queue.
    pub async fn stop_waiting(&self, uid: Uuid) -> Result<(), Error> {
        sqlx::query("delete from lock_waiters where uid = $1")
            .bind(uid)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Who holds a lock: its row and the description of the task.
    pub async fn find_lock_holder(
        &self,
        name: &str,
    ) -> Result<Option<(Option<i64>, Option<String>)>, Error> {
        sqlx::query_as(
            "select l.task_id, t.description from locks l left join tasks t on t.id = l.task_id where l.name = $1",
        )
        .bind(name)
        .fetch_optional(self.pool())
        .await
    }

    /// Renews all locks of an owner; returns the uids that are still held.
    pub async fn renew_locks(&self, owner: &str, lease: Duration) -> Result<Vec<Uuid>, Error> {
        sqlx::query_scalar(
            "update locks set expires_at = now() + make_interval(secs => $2) where owner = $1 returning uid",
        )
        .bind(owner)
        .bind(lease.as_secs_f64())
        .fetch_all(self.pool())
        .await
    }

    /// Releases one lock and wakes those who wait for it.
    pub async fn unlock(&self, uid: Uuid) -> Result<bool, Error> {
        let done = sqlx::query(
            "with l as (delete from locks where uid = $1 returning name)
             select pg_notify('bosun_lock_released', name) from l",
        )
        .bind(uid)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Releases what an ended task held here, and what earlier workers of it left that nobody took over.
    pub async fn unlock_task(&self, task: i64, owner: &str) -> Result<(), Error> {
        sqlx::query(
            "with l as (delete from locks where task_id = $1 and owner in ($2, 'nobody') returning name)
             select pg_notify('bosun_lock_released', name) from l",
        )
        .bind(task)
        .bind(owner)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// What earlier workers of a task left becomes free for its next one, whichever process that is in.
    pub async fn disown_locks(&self, task: i64, lease: Duration) -> Result<(), Error> {
        sqlx::query(
            "update locks set owner = 'nobody', expires_at = now() + make_interval(secs => $2) where task_id = $1",
        )
        .bind(task)
        .bind(lease.as_secs_f64())
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Locks of dead processes of one director instance end at once, unless the task is still to be finished
    /// (its next worker inherits them).
    pub async fn expire_locks_of(&self, instance: &str, owner: &str) -> Result<(), Error> {
        sqlx::query(
            "delete from locks l where split_part(owner, '#', 1) = $1 and owner <> $2
               and not exists (select 1 from tasks t where t.id = l.task_id and t.state in ('processing', 'cancelling'))",
        )
        .bind(instance)
        .bind(owner)
        .execute(self.pool())
        .await?;
        sqlx::query(
            "delete from lock_waiters where split_part(owner, '#', 1) = $1 and owner <> $2",
        )
        .bind(instance)
        .bind(owner)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// All locks, oldest first. Those expired for more than a minute are dropped.
    pub async fn list_locks(&self) -> Result<Vec<LockRow>, Error> {
        sqlx::query("delete from locks where expires_at < now() - interval '60 seconds'")
            .execute(self.pool())
            .await?;
        sqlx::query_as(
            "select name, uid, task_id, expires_at from locks where name like 'lock:%' order by acquired_at, name",
        )
        .fetch_all(self.pool())
        .await
    }

    /// Names of the deployments whose lock is held and has not expired.
    pub async fn locked_deployments(&self) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "select substr(name, length('lock:deployment:') + 1) from locks
             where name like 'lock:deployment:%' and expires_at > now()",
        )
        .fetch_all(self.pool())
        .await
    }
}

impl Store {
    /// Takes or renews the right to be the one director that does a recurring work. Not shown among the locks.
    pub async fn hold_duty(&self, duty: &str, owner: &str, lease: Duration) -> Result<bool, Error> {
        let done = sqlx::query(
            "insert into locks (name, uid, owner, expires_at)
             values ('duty:' || $1, gen_random_uuid(), $2, now() + make_interval(secs => $3))
             on conflict (name) do update set owner = excluded.owner, expires_at = excluded.expires_at
               where locks.owner = excluded.owner or locks.expires_at < now()",
        )
        .bind(duty)
        .bind(owner)
        .bind(lease.as_secs_f64())
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
