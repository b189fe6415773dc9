"""Which directives are weir's so far: the modules that are built, less what they leave out."""

import csv
import os

MODULES = {
    "ngx_core_module", "ngx_events_module", "ngx_event_core_module", "ngx_errlog_module", "ngx_conf_module",
    "ngx_regex_module", "ngx_thread_pool_module", "ngx_http_module", "ngx_http_core_module", "ngx_http_rewrite_module",
    "ngx_http_map_module", "ngx_http_headers_module", "ngx_http_log_module", "ngx_http_static_module",
    "ngx_http_index_module", "ngx_http_access_module", "ngx_http_auth_request_module", "ngx_http_try_files_module",
    "ngx_http_proxy_module", "ngx_http_upstream_module",
}
LEFT_OUT_PREFIXES = ("proxy_cache", "proxy_store", "proxy_ssl", "proxy_no_cache", "ssl_engine", "quic")
LEFT_OUT = {"hash", "ip_hash", "least_conn", "least_time", "random", "zone", "sticky", "state", "queue", "ntlm", "match",
            "load_module", "mirror", "ssl_object_cache_inheritable"}
STREAM_ROOTS = {"stream", "mail"}


class Table:
    def __init__(self, folder):
        self.rows = {}
        with open(os.path.join(folder, "directives.tsv"), encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                self.rows.setdefault(row["directive"], []).append(row)

    def why_out(self, directive):
        """The reason why this use is out of scope, or None. Names that no table knows are in: both programs refuse them."""
        name = directive.name
        if name in STREAM_ROOTS or STREAM_ROOTS & set(directive.parents):
            return name
        if name in LEFT_OUT or name.startswith(LEFT_OUT_PREFIXES):
            return name
        rows = self.rows.get(name)
        if rows is None or name == "include":
            return None
        if not any(row["module"] in MODULES for row in rows):
            return name
        if name == "listen" and {"ssl", "http2", "quic", "spdy"} & set(directive.words):
            return "listen " + " ".join(directive.words)
        if name == "proxy_pass" and directive.words and directive.words[0].lower().startswith("https://"):
            return "proxy_pass https"
        if name == "server" and "upstream" in directive.parents[-1:]:
            for word in directive.words[1:]:
                if word.split("=")[0] in ("resolve", "service", "route", "slow_start", "drain"):
                    return "server " + word
        return None

    def newer(self, name, oldest):
        """The version that brought the directive, when that is after `oldest`."""
        for row in self.rows.get(name, []):
            since = row["since"].split(",")[0]
            try:
                if row["module"] in MODULES and tuple(map(int, since.split("."))) > oldest:
                    return since
            except ValueError:
                pass
        return None
