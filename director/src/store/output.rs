//! Task output in ordered chunks (director-api.md §3.5). Only grows; byte offsets.

use super::tasks::Fence;
use super::{Error, Store};

impl Store {
    /// Appends a chunk under the worker's lease. `false`: the lease is no longer ours. One writer per task
    /// (its [`crate::tasks::output::Output`]) appends, so offsets need no lock of their own.
    pub async fn append_output(
        &self,
        fence: Fence,
        kind: &str,
        data: &[u8],
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "with mine as (
               select id from tasks
               where id = $1 and lease_epoch = $2 and state in ('processing', 'cancelling') for share),
             last as (
               select seq, start + length(data) as next from task_output
               where task_id = $1 and kind = $3 order by seq desc limit 1)
             insert into task_output (task_id, kind, seq, start, data)
             select id, $3, coalesce((select seq from last), 0) + 1, coalesce((select next from last), 0), $4 from mine",
        )
        .bind(fence.task)
        .bind(fence.epoch)
        .bind(kind)
        .bind(data)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Size in bytes of one kind of output; `None` if nothing was ever written.
    pub async fn output_size(&self, task: i64, kind: &str) -> Result<Option<i64>, Error> {
        sqlx::query_scalar(
            "select start + length(data) from task_output where task_id = $1 and kind = $2 order by seq desc limit 1",
        )
        .bind(task)
        .bind(kind)
        .fetch_optional(self.pool())
        .await
    }

    /// The bytes from `from` (inclusive) to `to` (exclusive).
    pub async fn read_output(
        &self,
        task: i64,
        kind: &str,
        from: i64,
        to: i64,
    ) -> Result<Vec<u8>, Error> {
        let chunks: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "select start, data from task_output
             where task_id = $1 and kind = $2 and start < $4 and start + length(data) > $3 order by seq",
        )
        .bind(task)
        .bind(kind)
        .bind(from)
        .bind(to)
        .fetch_all(self.pool())
        .await?;
        let mut bytes = Vec::with_capacity(usize::try_from(to - from).unwrap_or(0));
        for (start, data) in chunks {
            let begin = usize::try_from((from - start).max(0)).unwrap_or(usize::MAX);
            let end = usize::try_from(to - start).unwrap_or(0).min(data.len());
            if begin < end {
                bytes.extend_from_slice(&data[begin..end]);
            }
        }
        Ok(bytes)
    }

    /// The last bytes of one kind, at most `max`, to find the last whole line.
    pub async fn output_tail(&self, task: i64, kind: &str, max: i64) -> Result<Vec<u8>, Error> {
        match self.output_size(task, kind).await? {
            Some(size) => {
                self.read_output(task, kind, (size - max).max(0), size)
                    .await
            }
            None => Ok(Vec::new()),
        }
    }
}
