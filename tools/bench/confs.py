"""The configurations that are measured. Both programs run the same text, with defaults that differ
between versions pinned (HTTP version and keep-alive to the upstream)."""

HEAD = """
worker_processes 1;
worker_rlimit_nofile 20000;
error_log logs/error.log;
events { worker_connections %(connections)d; }
http {
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    keepalive_requests 100000000;
    keepalive_timeout 3600;
    # Measures the proxy and not the disk.
    proxy_max_temp_file_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout 3600;
    upstream backend {
        server 127.0.0.1:%(backend)d;
        keepalive 64;
        keepalive_requests 100000000;
        keepalive_timeout 3600;
    }
"""

TUNNEL = """
        location /tunnel/ {
            proxy_pass http://backend;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }
"""


def plain(port, backend):
    return HEAD % {"backend": backend, "connections": 19000} + f"""
    access_log off;
    server {{
        listen 127.0.0.1:{port} backlog=8192;
        location / {{ proxy_pass http://backend; }}
{TUNNEL}
    }}
}}
"""


def tls(port, backend, certs, kernel, new):
    """The same over TLS, with HTTP/2 (which 1.22 has as a word of `listen`)."""
    listen = "" if new else " http2"
    head = HEAD.replace("keepalive 64;", "keepalive 256;")  # a connection for each stream under way
    more = ("http2 on;" if new else "") + ("ssl_conf_command Options KTLS;" if kernel else "")
    return head % {"backend": backend, "connections": 19000} + f"""
    access_log off;
    server {{
        listen 127.0.0.1:{port} ssl{listen} backlog=8192;
        {more}
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {certs}/localhost.pem;
        ssl_certificate_key {certs}/localhost.key;
        ssl_session_cache shared:SSL:1m;
        location / {{ proxy_pass http://backend; }}
{TUNNEL}
    }}
}}
"""


def http2(port, backend, grpc):
    """HTTP/2 in the clear, to HTTP/1.1 and to gRPC upstreams."""
    head = HEAD.replace("keepalive 64;", "keepalive 256;")  # a connection for each stream under way
    return head % {"backend": backend, "connections": 19000} + f"""
    upstream grpc {{
        server 127.0.0.1:{grpc};
        keepalive 256;
        keepalive_requests 100000000;
        keepalive_timeout 3600;
    }}
    access_log off;
    client_max_body_size 0;
    client_body_timeout 3600;
    grpc_read_timeout 3600;
    grpc_send_timeout 3600;
    server {{
        listen 127.0.0.1:{port} http2 backlog=8192;
        location / {{ proxy_pass http://backend; }}
        location /bench.Echo/ {{ grpc_pass grpc://grpc; }}
    }}
}}
"""


def stream(port, backend):
    """Connections and datagrams, passed on as they are."""
    return f"""
worker_processes 1;
worker_rlimit_nofile 20000;
error_log logs/error.log;
events {{ worker_connections 19000; }}
stream {{
    proxy_timeout 1h;
    server {{ listen 127.0.0.1:{port} backlog=8192; proxy_pass 127.0.0.1:{backend}; }}
    server {{ listen 127.0.0.1:{port} udp; proxy_pass 127.0.0.1:{backend}; }}
}}
"""


def stream_part(port, backend):
    """A stream block, logged, to stand beside http."""
    return f"""
stream {{
    log_format basic '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time "$upstream_addr"';
    access_log logs/stream.log basic;
    server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{backend}; }}
}}
"""


SERVERS = 30
LOCATIONS = 20


def realistic(port, backend, version=1):
    """30 servers of 20 locations with regexes, maps, headers built from variables, an access log."""
    text = HEAD % {"backend": backend, "connections": 1024} + """
    log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                    '"$http_referer" "$http_user_agent" rt=$request_time ua=$upstream_addr '
                    'us=$upstream_status host=$host kind=$kind';
    access_log logs/access.log main;
    map $http_user_agent $kind {
        default desktop;
        ~*(android|iphone|mobile) mobile;
        ~*(bot|crawler|spider) robot;
        '' unknown;
    }
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    map $uri $cache_class {
        default none;
        ~\\.(css|js)$ long;
        ~\\.(png|jpg|gif)$ image;
        /health never;
    }
    map $host $tenant {
        hostnames;
        default none;
        .example.com example;
        *.example.org org;
    }
    server_tokens off;
    add_header X-Frame-Options SAMEORIGIN;
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Tenant "$tenant-$kind";
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
"""
    for server in range(SERVERS):
        names = f"s{server}.example.com www.s{server}.example.com"
        if server % 5 == 1:
            names += f" *.w{server}.example.org"
        if server % 10 == 2:
            names += f" ~^r(?<number>\\d+)-{server}\\.example\\.net$"
        backlog = " backlog=8192" if server == 0 else ""
        text += f"    server {{\n        listen 127.0.0.1:{port}{backlog};\n"
        text += f"        server_name {names};\n"
        text += f"        add_header X-Version {version};\n"
        for location in range(LOCATIONS):
            text += realistic_location(location)
        text += TUNNEL + "    }\n"
    return text + "}\n"


def realistic_location(number):
    body = 'add_header X-Served-By "$server_name/$cache_class" always; proxy_pass http://backend;'
    if number == 0:
        return f"        location / {{ {body} }}\n"
    if number == 1:
        return "        location = /health { access_log off; return 200 ok; }\n"
    if number % 4 == 2:
        return f"        location ~ ^/section{number}/(?<item>[a-z0-9-]+)/ {{ " \
               f"proxy_set_header X-Item $item; proxy_set_header Host $host; {body} }}\n"
    if number % 4 == 3:
        return f"        location ~* \\.(x{number}|y{number})$ {{ expires 1h; {body} }}\n"
    return f"        location /api/v{number}/ {{ {body} }}\n"


def realistic_targets():
    targets = []
    for server in range(SERVERS):
        host = f"s{server}.example.com"
        targets += [(host, "/b128"), (host, f"/api/v{4 + server % 4 * 4}/users/b128"),
                    (host, f"/section{2 + server % 5 * 4}/item-{server}/b128"),
                    (host, "/page.html?x=/b128")]
    return targets


def many_servers(port, backend, servers):
    """For startup: servers of ten locations each."""
    text = HEAD % {"backend": backend, "connections": 1024} + """
    access_log off;
    server_names_hash_max_size 65536;
    server_names_hash_bucket_size 128;
"""
    for server in range(servers):
        text += f"    server {{\n        listen 127.0.0.1:{port};\n"
        text += f"        server_name host{server}.example.com www.host{server}.example.com;\n"
        for location in range(10):
            text += f"        location /path{location}/ {{\n            proxy_pass http://backend;\n"
            if location % 3 == 0:
                text += "            proxy_set_header X-Real-IP $remote_addr;\n"
                text += '            proxy_set_header Connection "";\n'
            text += "        }\n"
        text += "    }\n"
    return text + "}\n"


TARGETS = {
    "small": [("localhost", "/b128")],
    "100k": [("localhost", "/b102400")],
    "1m": [("localhost", "/b1048576")],
    "connect": [("localhost", "/b128")],
    "tunnel": [("localhost", "/tunnel/b0")],
    "realistic": realistic_targets(),
    "stream-echo": [("localhost", "/b0")],
    "stream-bulk": [("localhost", "/b4194304")],
    "stream-connect": [("localhost", "/b128")],
    "stream-datagram": [("localhost", "/b0")],
}
