#include "modules/explain/explain.h"

// Directives and variables of modules of nginx, and of well-known add-ons, that weir does not have.
// What a module here defines is never looked for in it.
namespace weir::explain {

namespace {

constexpr conf::Elsewhere kElsewhere[] = {
    {"the add-on that its name begins with",
     "mruby_* app_protect_* passenger_* opentracing_* opentracing otel_* otel_exporter naxsi_* "
     "pagespeed brotli_* geoip2_* pinba_* upload_* push_stream_* nchan_* auth_ldap* vod_* tfs_* "
     "zstd "
     "zstd_* cache_purge proxy_cache_purge uwsgi_* scgi_* drizzle_* redis_* redis2_* postgres_* "
     "srcache_* "
     "set_random set_md5 set_sha1 set_escape_uri set_unescape_uri set_quote_sql_str "
     "set_secure_random_* "
     "encrypted_session_* fancyindex fancyindex_* substitutions subs_filter subs_filter_types"},
    {"ngx_http_lua_module (OpenResty)", "lua_* init_by_lua init_worker_by_lua"},
    {"ngx_http_vhost_traffic_status_module", "vhost_traffic_status_*"},
    {"ModSecurity", "modsecurity modsecurity_rules modsecurity_rules_file"},
    {"Passenger",
     "passenger_enabled passenger_root passenger_ruby passenger_app_root "
     "passenger_python"},
    {"nginx's commercial version",
     "upstream_conf status_format status status_zone api ntlm session_log session_log_zone "
     "auth_jwt "
     "auth_jwt_key_file keyval keyval_zone zone_sync f4f hls_buffers state mgmt"},
    {"ngx_core_module", "ssl_engine"},
    {"ngx_devpoll_module", "devpoll_changes devpoll_events"},
    {"ngx_eventport_module", "eventport_events"},
    {"ngx_google_perftools_module", "google_perftools_profiles"},
    {"ngx_http_addition_module", "add_after_body add_before_body addition_types"},
    {"ngx_http_auth_basic_module", "auth_basic auth_basic_user_file"},
    {"ngx_http_autoindex_module",
     "autoindex autoindex_exact_size autoindex_format autoindex_localtime"},
    {"ngx_http_brotli_filter_module",
     "brotli brotli_buffers brotli_comp_level brotli_min_length brotli_types "
     "brotli_window"},
    {"ngx_http_brotli_static_module", "brotli_static"},
    {"ngx_http_browser_module",
     "ancient_browser ancient_browser_value modern_browser modern_browser_value "
     "$ancient_browser $modern_browser $msie"},
    {"ngx_http_charset_module",
     "charset charset_map charset_types override_charset source_charset"},
    {"ngx_http_dav_module", "create_full_put_path dav_access dav_methods min_delete_depth"},
    {"ngx_http_degradation_module", "degradation degrade"},
    {"ngx_http_echo_module",
     "echo echo_abort_parent echo_after_body echo_before_body echo_blocking_sleep "
     "echo_duplicate echo_end echo_exec echo_flush echo_foreach_split echo_location "
     "echo_location_async echo_read_request_body echo_request_body echo_reset_timer "
     "echo_sleep echo_status echo_subrequest echo_subrequest_async"},
    {"ngx_http_empty_gif_module", "empty_gif"},
    {"ngx_http_fastcgi_module",
     "fastcgi_bind fastcgi_buffer_size fastcgi_buffering fastcgi_buffers "
     "fastcgi_busy_buffers_size fastcgi_cache fastcgi_cache_background_update "
     "fastcgi_cache_bypass fastcgi_cache_key fastcgi_cache_lock "
     "fastcgi_cache_lock_age fastcgi_cache_lock_timeout "
     "fastcgi_cache_max_range_offset fastcgi_cache_methods fastcgi_cache_min_uses "
     "fastcgi_cache_path fastcgi_cache_revalidate fastcgi_cache_use_stale "
     "fastcgi_cache_valid fastcgi_catch_stderr fastcgi_connect_timeout "
     "fastcgi_force_ranges fastcgi_hide_header fastcgi_ignore_client_abort "
     "fastcgi_ignore_headers fastcgi_index fastcgi_intercept_errors "
     "fastcgi_keep_conn fastcgi_limit_rate fastcgi_max_temp_file_size "
     "fastcgi_next_upstream fastcgi_next_upstream_timeout "
     "fastcgi_next_upstream_tries fastcgi_no_cache fastcgi_param fastcgi_pass "
     "fastcgi_pass_header fastcgi_pass_request_body fastcgi_pass_request_headers "
     "fastcgi_read_timeout fastcgi_request_buffering fastcgi_send_lowat "
     "fastcgi_send_timeout fastcgi_socket_keepalive fastcgi_socket_rcvbuf "
     "fastcgi_socket_sndbuf fastcgi_split_path_info fastcgi_store "
     "fastcgi_store_access fastcgi_temp_file_write_size fastcgi_temp_path "
     "$fastcgi_path_info $fastcgi_script_name"},
    {"ngx_http_flv_module", "flv"},
    {"ngx_http_geoip2_module", "geoip2 geoip2_proxy geoip2_proxy_recursive"},
    {"ngx_http_geoip_module",
     "geoip_city geoip_country geoip_org geoip_proxy geoip_proxy_recursive "
     "$geoip_area_code $geoip_city $geoip_city_continent_code "
     "$geoip_city_country_code $geoip_city_country_code3 $geoip_city_country_name "
     "$geoip_country_code $geoip_country_code3 $geoip_country_name $geoip_dma_code "
     "$geoip_latitude $geoip_longitude $geoip_org $geoip_postal_code $geoip_region "
     "$geoip_region_name"},
    {"ngx_http_gunzip_module", "gunzip gunzip_buffers"},
    {"ngx_http_gzip_module",
     "gzip gzip_buffers gzip_comp_level gzip_disable gzip_hash gzip_http_version "
     "gzip_min_length gzip_no_buffer gzip_proxied gzip_types gzip_vary gzip_window "
     "postpone_gzipping $gzip_ratio"},
    {"ngx_http_gzip_static_module", "gzip_static"},
    {"ngx_http_headers_more_filter_module",
     "more_clear_headers more_clear_input_headers more_set_headers "
     "more_set_input_headers"},
    {"ngx_http_image_filter_module",
     "image_filter image_filter_buffer image_filter_interlace "
     "image_filter_jpeg_quality image_filter_sharpen image_filter_transparency "
     "image_filter_webp_quality"},
    {"ngx_http_js_module (njs)",
     "js_import js_include js_set js_content js_path js_var js_header_filter "
     "js_body_filter js_preload_object js_fetch_trusted_certificate "
     "js_shared_dict_zone js_access js_filter js_preread"},
    {"ngx_http_lua_module (OpenResty)",
     "lua_package_path lua_package_cpath lua_shared_dict lua_code_cache "
     "lua_socket_connect_timeout lua_socket_read_timeout lua_ssl_trusted_certificate "
     "init_by_lua_block init_by_lua_file init_worker_by_lua_block "
     "init_worker_by_lua_file set_by_lua set_by_lua_block set_by_lua_file "
     "rewrite_by_lua rewrite_by_lua_block rewrite_by_lua_file access_by_lua "
     "access_by_lua_block access_by_lua_file content_by_lua content_by_lua_block "
     "content_by_lua_file header_filter_by_lua header_filter_by_lua_block "
     "body_filter_by_lua body_filter_by_lua_block log_by_lua_block log_by_lua_file "
     "balancer_by_lua_block ssl_certificate_by_lua_block"},
    {"ngx_http_memcached_module",
     "memcached_bind memcached_buffer_size memcached_connect_timeout "
     "memcached_gzip_flag memcached_next_upstream memcached_next_upstream_timeout "
     "memcached_next_upstream_tries memcached_pass memcached_read_timeout "
     "memcached_send_timeout memcached_socket_keepalive"},
    {"ngx_http_mirror_module", "mirror mirror_request_body"},
    {"ngx_http_mp4_module", "mp4 mp4_buffer_size mp4_max_buffer_size mp4_start_key_frame"},
    {"ngx_http_perl_module", "perl perl_modules perl_require perl_set"},
    {"ngx_http_proxy_module",
     "proxy_cache proxy_cache_background_update proxy_cache_bypass "
     "proxy_cache_convert_head proxy_cache_key proxy_cache_lock proxy_cache_lock_age "
     "proxy_cache_lock_timeout proxy_cache_max_range_offset proxy_cache_methods "
     "proxy_cache_min_uses proxy_cache_path proxy_cache_revalidate "
     "proxy_cache_use_stale proxy_cache_valid proxy_no_cache proxy_store "
     "proxy_store_access"},
    {"ngx_http_random_index_module", "random_index"},
    {"ngx_http_referer_module",
     "referer_hash_bucket_size referer_hash_max_size valid_referers $invalid_referer"},
    {"ngx_http_scgi_module",
     "scgi_bind scgi_buffer_size scgi_buffering scgi_buffers scgi_busy_buffers_size "
     "scgi_cache scgi_cache_background_update scgi_cache_bypass scgi_cache_key "
     "scgi_cache_lock scgi_cache_lock_age scgi_cache_lock_timeout "
     "scgi_cache_max_range_offset scgi_cache_methods scgi_cache_min_uses "
     "scgi_cache_path scgi_cache_revalidate scgi_cache_use_stale scgi_cache_valid "
     "scgi_connect_timeout scgi_force_ranges scgi_hide_header "
     "scgi_ignore_client_abort scgi_ignore_headers scgi_intercept_errors "
     "scgi_limit_rate scgi_max_temp_file_size scgi_next_upstream "
     "scgi_next_upstream_timeout scgi_next_upstream_tries scgi_no_cache scgi_param "
     "scgi_pass scgi_pass_header scgi_pass_request_body scgi_pass_request_headers "
     "scgi_read_timeout scgi_request_buffering scgi_send_timeout "
     "scgi_socket_keepalive scgi_socket_rcvbuf scgi_socket_sndbuf scgi_store "
     "scgi_store_access scgi_temp_file_write_size scgi_temp_path"},
    {"ngx_http_secure_link_module",
     "secure_link secure_link_md5 secure_link_secret $secure_link "
     "$secure_link_expires"},
    {"ngx_http_slice_module", "slice $slice_range"},
    {"ngx_http_ssi_module",
     "ssi ssi_ignore_recycled_buffers ssi_last_modified ssi_min_file_chunk "
     "ssi_silent_errors ssi_types ssi_value_length $date_gmt $date_local"},
    {"ngx_http_stub_status_module",
     "stub_status $connections_active $connections_reading $connections_waiting "
     "$connections_writing"},
    {"ngx_http_sub_module", "sub_filter sub_filter_last_modified sub_filter_once sub_filter_types"},
    {"ngx_http_tunnel_module",
     "tunnel_bind tunnel_buffer_size tunnel_connect_timeout tunnel_next_upstream "
     "tunnel_next_upstream_timeout tunnel_next_upstream_tries tunnel_pass "
     "tunnel_read_timeout tunnel_send_lowat tunnel_send_timeout "
     "tunnel_socket_keepalive tunnel_socket_rcvbuf tunnel_socket_sndbuf"},
    {"ngx_http_userid_module",
     "userid userid_domain userid_expires userid_flags userid_mark userid_name "
     "userid_p3p userid_path userid_service $uid_got $uid_reset $uid_set"},
    {"ngx_http_uwsgi_module",
     "uwsgi_bind uwsgi_buffer_size uwsgi_buffering uwsgi_buffers "
     "uwsgi_busy_buffers_size uwsgi_cache uwsgi_cache_background_update "
     "uwsgi_cache_bypass uwsgi_cache_key uwsgi_cache_lock uwsgi_cache_lock_age "
     "uwsgi_cache_lock_timeout uwsgi_cache_max_range_offset uwsgi_cache_methods "
     "uwsgi_cache_min_uses uwsgi_cache_path uwsgi_cache_revalidate "
     "uwsgi_cache_use_stale uwsgi_cache_valid uwsgi_connect_timeout "
     "uwsgi_force_ranges uwsgi_hide_header uwsgi_ignore_client_abort "
     "uwsgi_ignore_headers uwsgi_intercept_errors uwsgi_limit_rate "
     "uwsgi_max_temp_file_size uwsgi_modifier1 uwsgi_modifier2 uwsgi_next_upstream "
     "uwsgi_next_upstream_timeout uwsgi_next_upstream_tries uwsgi_no_cache "
     "uwsgi_param uwsgi_pass uwsgi_pass_header uwsgi_pass_request_body "
     "uwsgi_pass_request_headers uwsgi_read_timeout uwsgi_request_buffering "
     "uwsgi_send_timeout uwsgi_socket_keepalive uwsgi_socket_rcvbuf "
     "uwsgi_socket_sndbuf uwsgi_ssl_certificate uwsgi_ssl_certificate_cache "
     "uwsgi_ssl_certificate_key uwsgi_ssl_ciphers uwsgi_ssl_conf_command "
     "uwsgi_ssl_crl uwsgi_ssl_name uwsgi_ssl_password_file uwsgi_ssl_protocols "
     "uwsgi_ssl_server_name uwsgi_ssl_session_reuse uwsgi_ssl_trusted_certificate "
     "uwsgi_ssl_verify uwsgi_ssl_verify_depth uwsgi_store uwsgi_store_access "
     "uwsgi_string uwsgi_temp_file_write_size uwsgi_temp_path"},
    {"ngx_http_v3_module",
     "http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size "
     "quic_active_connection_id_limit quic_bpf quic_gso quic_host_key quic_retry "
     "$http3"},
    {"ngx_http_vhost_traffic_status_module",
     "vhost_traffic_status vhost_traffic_status_zone vhost_traffic_status_display "
     "vhost_traffic_status_display_format"},
    {"ngx_http_xslt_module",
     "xml_entities xml_external_entities xslt_last_modified xslt_param "
     "xslt_string_param xslt_stylesheet xslt_types"},
    {"ngx_iocp_module", "acceptex_read iocp_threads post_acceptex"},
    {"ngx_kqueue_module", "kqueue_changes kqueue_events"},
    {"ngx_mail_auth_http_module",
     "auth_http auth_http_header auth_http_pass_client_cert auth_http_timeout"},
    {"ngx_mail_core_module", "mail max_errors protocol timeout"},
    {"ngx_mail_imap_module", "imap_auth imap_capabilities imap_client_buffer"},
    {"ngx_mail_pop3_module", "pop3_auth pop3_capabilities"},
    {"ngx_mail_proxy_module",
     "proxy proxy_buffer proxy_pass_error_message proxy_smtp_auth xclient"},
    {"ngx_mail_smtp_module", "smtp_auth smtp_capabilities smtp_client_buffer smtp_greeting_delay"},
    {"ngx_mail_ssl_module", "starttls"},
    {"ngx_pagespeed", "pagespeed"},
    {"ngx_rtmp_module", "rtmp application live record hls hls_path hls_fragment dash push pull"},
    {"ngx_stream_geoip2_module", "geoip2"},
    {"ngx_stream_geoip_module",
     "geoip_city geoip_country geoip_org $geoip_area_code $geoip_city "
     "$geoip_city_continent_code $geoip_city_country_code $geoip_city_country_code3 "
     "$geoip_city_country_name $geoip_country_code $geoip_country_code3 "
     "$geoip_country_name $geoip_dma_code $geoip_latitude $geoip_longitude "
     "$geoip_org $geoip_postal_code $geoip_region $geoip_region_name"},
    {"a check module (ngx_http_upstream_check_module)",
     "check check_http_send check_http_expect_alive check_keepalive_requests "
     "check_status check_shm_size"},
};

}  // namespace

std::span<const conf::Elsewhere> elsewhere() {
  return kElsewhere;
}

}  // namespace weir::explain
