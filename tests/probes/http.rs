//! `http`, by a real nginx.

use super::*;
use crate::support::{Backend, Server, left_out};

#[test]
fn the_status_and_the_body_of_nginx_decide() {
    if left_out(&["nginx"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().display();
    let (_nginx, address) = Server::on_port(directory.path(), |port| {
        let text = format!(
            "daemon off; master_process off; pid {home}/pid; error_log {home}/errors;\n\
             events {{ }}\n\
             http {{ access_log {home}/access; default_type text/plain;\n\
             client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};\n\
             uwsgi_temp_path {home}; scgi_temp_path {home};\n\
             server {{ listen 127.0.0.1:{port} default_server; server_name _; return 404; }}\n\
             server {{ listen 127.0.0.1:{port}; server_name app.example;\n\
             location /ok {{ return 200 'state: ready ($request_method)'; }}\n\
             location /away {{ return 302 /ok; }}\n\
             location /down {{ return 503 'no'; }} }} }}\n"
        );
        std::fs::write(directory.path().join("nginx.conf"), text).unwrap();
        let config = directory.path().join("nginx.conf");
        ["nginx", "-p", directory.path().to_str().unwrap(), "-c", config.to_str().unwrap()]
            .map(str::to_owned)
            .into()
    });
    let host = "host = \"app.example\"";
    for (options, reason) in [
        (format!("path = \"/ok\", {host}"), None),
        (format!("path = \"/away\", {host}"), None),
        (format!("path = \"/ok\", {host}, method = \"HEAD\""), None),
        (format!("path = \"/ok\", {host}, method = \"OPTIONS\", body = \"(OPTIONS)\""), None),
        (format!("path = \"/down\", {host}, status = [200, \"500-599\"]"), None),
        (format!("path = \"/ok\", {host}, body = {{ regex = '^state: (ready|busy) ' }}"), None),
        (format!("path = \"/down\", {host}"), Some("status 503, expected 200-399")),
        (format!("path = \"/away\", {host}, status = 200"), Some("status 302, expected 200")),
        ("path = \"/ok\"".to_owned(), Some("status 404, expected 200-399")),
        (
            format!("path = \"/ok\", {host}, body = \"idle\""),
            Some("status 200, expected \"idle\" in the body, got \"state: ready (GET)\""),
        ),
    ] {
        let forebay = probing(&[address], &format!("{{ http = {{ {options} }} }}"));
        match reason {
            None => expect_healthy(&forebay, address),
            Some(reason) => expect_unhealthy(&forebay, address, reason),
        }
    }
    let forebay = probing(&[address], "\"http\"");
    expect_unhealthy(&forebay, address, "status 404, expected 200-399");
}

#[test]
fn what_is_asked_is_a_whole_request() {
    let backend = Backend::scripted(|peer| {
        let line = |peer: &mut support::Peer| peer.line().unwrap_or_default();
        let mut asked = Vec::new();
        while asked.last().is_none_or(|line| line != "\r") {
            asked.push(line(peer));
        }
        let host = format!("Host: {}\r", peer.stream().local_addr().unwrap());
        let right = asked[0] == "GET /a?b=%20 HTTP/1.1\r" && asked.contains(&host);
        let status = if right { "200 OK" } else { "400 Bad Request" };
        peer.send(format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
        for part in ["2\r\nre", "\r\n3\r\nad", "y\r\n"] {
            peer.send(part.as_bytes());
            peer.expect_acknowledged();
        }
        // The end of the body does not come; what is looked for has.
        let _ = peer.read_some(1);
    });
    let forebay =
        probing(&[backend.address()], r#"{ http = { path = "/a?b=%20", body = "ready" } }"#);
    expect_healthy(&forebay, backend.address());
}
