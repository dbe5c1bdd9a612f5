//! The servers that other tests stand on.

use sqlx::{Connection, PgConnection};
use test_support::{TestDatabase, TestNats};

#[tokio::test]
async fn two_databases_of_one_cluster_do_not_see_each_other() {
    let (one, two) = (
        TestDatabase::create().await.unwrap(),
        TestDatabase::create().await.unwrap(),
    );
    assert_ne!(one.url(), two.url());
    let mut connection = PgConnection::connect(one.url()).await.unwrap();
    sqlx::query("create table only_here (id int)")
        .execute(&mut connection)
        .await
        .unwrap();
    let mut connection = PgConnection::connect(two.url()).await.unwrap();
    let count: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where tablename = 'only_here'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn nats_carries_a_message() {
    let nats = TestNats::start().await.unwrap();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut messages = client.subscribe("a.b").await.unwrap();
    client.publish("a.b", "hello".into()).await.unwrap();
    let message = futures_util::StreamExt::next(&mut messages).await.unwrap();
    assert_eq!(message.payload, "hello");
}
