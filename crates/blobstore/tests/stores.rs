//! The same promises of every store: the local folder, and a DAV server over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method as HttpMethod, StatusCode};
use axum::response::{IntoResponse, Response};
use blobstore::signed::SigningKey;
use blobstore::{Blobstore, DavBlobstore, Error, GcsBlobstore, LocalBlobstore, Method, new_id};
use domain::{BlobId, Digest, MultiDigest};
use serde_json::json;

async fn keeps_its_promises(store: &dyn Blobstore) {
    let folder = tempfile::tempdir().unwrap();
    let (id, copy) = (new_id(), new_id());
    assert!(!store.exists(&id).await.unwrap());
    assert!(store.get_bytes(&id, None).await.unwrap_err().is_not_found());

    let source = folder.path().join("source");
    let content = vec![7_u8; 300_000];
    std::fs::write(&source, &content).unwrap();
    store.put_file(&id, &source).await.unwrap();
    let good = MultiDigest::from(Digest::sha256(&content));
    assert_eq!(store.get_bytes(&id, Some(&good)).await.unwrap(), content);

    let target = folder.path().join("target");
    let bad = MultiDigest::from(Digest::sha1("other"));
    let error = store
        .get_to_file(&id, &target, Some(&bad))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert!(!target.exists());
    store.get_to_file(&id, &target, Some(&good)).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content);

    store.copy(&id, &copy).await.unwrap();
    store.put_bytes(&id, "second".into()).await.unwrap();
    assert_eq!(store.get_bytes(&id, None).await.unwrap(), "second");
    assert_eq!(
        store.get_bytes(&copy, Some(&good)).await.unwrap().len(),
        content.len()
    );
    store.delete(&id).await.unwrap();
    store.delete(&id).await.unwrap();
    assert!(!store.exists(&id).await.unwrap());

    for outside in ["../x", "a/b", "", "a.b", "."] {
        let error = store
            .put_bytes(&BlobId::new(outside), "x".into())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InvalidId(_)), "{outside}: {error}");
    }
}

#[tokio::test]
async fn a_local_folder_keeps_its_promises_and_leaves_no_half_written_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalBlobstore::open(folder.path(), "https://d/", SigningKey::new("s")).unwrap();
    keeps_its_promises(&store).await;
    let broken = futures_util::stream::iter([Ok("a".into()), Err(std::io::Error::other("gone"))]);
    store
        .put(&new_id(), None, Box::pin(broken))
        .await
        .unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let url = store
        .signed_url(Method::Put, &new_id(), Duration::from_secs(1))
        .unwrap();
    assert!(url.starts_with("https://d/signed/"), "{url}");
}

#[tokio::test]
async fn a_token_server_that_is_not_there_is_no_missing_object() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, axum::Router::new()).await });
    let json_key = json!({
        "client_email": "ci@example.com",
        "private_key": pki::RsaKey::generate().unwrap().private_key().unwrap(),
        "token_uri": format!("http://{address}/token"),
    });
    let options = json!({"bucket_name": "b", "json_key": json_key.to_string()});
    let store = GcsBlobstore::new(options.as_object().unwrap()).unwrap();
    for outcome in [
        store.exists(&new_id()).await.map(drop),
        store.delete(&new_id()).await,
    ] {
        let error = outcome.unwrap_err();
        assert!(!error.is_not_found(), "{error}");
        assert!(error.to_string().contains("/token refused"), "{error}");
    }
    server.abort();
}

type Objects = Arc<std::sync::Mutex<std::collections::BTreeMap<String, Bytes>>>;

/// What nginx's DAV module does with objects, with basic auth.
async fn serve(
    State(objects): State<Objects>,
    method: HttpMethod,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        != Some("Basic dTpw")
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut objects = objects.lock().unwrap();
    match method {
        HttpMethod::PUT => {
            objects.insert(path, body);
            StatusCode::CREATED.into_response()
        }
        HttpMethod::DELETE if objects.remove(&path).is_some() => {
            StatusCode::NO_CONTENT.into_response()
        }
        HttpMethod::GET | HttpMethod::HEAD if objects.contains_key(&path) => {
            objects[&path].clone().into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn a_dav_server_keeps_its_promises_and_agents_get_no_credentials() {
    let objects = Objects::default();
    let routes = axum::Router::new()
        .route("/{*path}", axum::routing::any(serve))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(objects);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let options = json!({"endpoint": format!("http://{address}"), "user": "u", "password": "p", "secret": "s"});
    let store = DavBlobstore::new(options.as_object().cloned().unwrap()).unwrap();
    keeps_its_promises(&store).await;

    assert_eq!(
        store.agent_settings(true)["options"],
        json!({"endpoint": format!("http://{address}")})
    );
    assert_eq!(store.agent_settings(false)["options"]["password"], "p");
    let wrong = json!({"endpoint": format!("http://{address}"), "user": "u", "password": "no"});
    let store = DavBlobstore::new(wrong.as_object().cloned().unwrap()).unwrap();
    let error = store.put_bytes(&new_id(), "x".into()).await.unwrap_err();
    assert!(error.to_string().contains("status 401"), "{error}");
    server.abort();
}
