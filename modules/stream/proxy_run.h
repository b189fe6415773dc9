#pragma once

#include <memory>
#include <string>

#include "engine/async/event.h"
#include "engine/async/task.h"
#include "engine/net/connector.h"
#include "engine/stream/session.h"
#include "engine/upstream/resolver.h"
#include "engine/upstream/runtime.h"
#include "engine/worker.h"
#include "modules/stream/proxy.h"
#include "modules/stream/upstream_record.h"

namespace weir::stream::proxy {

// How loud a failed connect() is told: error where nobody is there, else crit.
Severity connect_severity(int error);

// A session on its way to an upstream, connection or datagrams: finds out where to, asks the
// balancer, tries one peer after another, keeps the facts. What a connection is, its heirs say.
class ProxyRun : public Content {
 public:
  explicit ProxyRun(Session& session);
  ~ProxyRun() override;
  ProxyRun(const ProxyRun&) = delete;
  ProxyRun& operator=(const ProxyRun&) = delete;

  // Once, when it is the session's content.
  void begin();
  void append_context(std::string& line) override;
  void update() override;

 protected:
  // Connects to `peer`. Ends in connected(), attempt_failed() or session.finish(), at once or
  // later.
  virtual void open(const net::Address& peer) = 0;
  // What moved so far between us and the upstream.
  virtual uint64_t upstream_sent() const = 0;
  virtual uint64_t upstream_received() const = 0;
  virtual int descriptor() const = 0;  // of the upstream socket, for the log

  // The connection is there.
  void connected();
  // This peer is not to be had: the next one's turn, or the end.
  void attempt_failed();
  // After connected(), of datagrams: the session is over, and the peer that served it counts as
  // failed.
  void peer_failed();
  net::ConnectOptions connect_options();
  // The PROXY protocol header that the upstream wants first; empty: none.
  std::string proxy_header();
  // A rate of the configuration, bytes a second; 0: no limit.
  uint64_t rate(const conf::Template& setting);
  const upstream::Cluster& cluster() const { return *cluster_; }
  UpstreamAttempt& attempt() { return record_.attempts.back(); }
  uint64_t attempt_age() const { return worker_.loop.now() - attempt_started_; }

  Session& session_;
  Worker& worker_;
  const ProxySettings& settings_;

 private:
  struct Resolving;
  void aim_at_variable(std::string_view text);
  void use_addresses(std::string_view host, uint16_t port, std::vector<net::Address> addresses);
  Task<void> resolve(std::string host, uint16_t port);
  void select();
  void next();
  void note_times();

  UpstreamRecord& record_;
  const upstream::Cluster* cluster_ = nullptr;
  std::unique_ptr<upstream::Cluster> resolved_;
  std::unique_ptr<Resolving> resolving_;
  std::unique_ptr<upstream::Selection> selection_;
  uint64_t started_ = 0;
  uint64_t attempt_started_ = 0;
  bool by_connect_time_ = false;  // the balancer's times
  bool counted_ = false;          // the upstream's connection, in the worker's count
};

void start_connection(Session& session);
void start_datagrams(Session& session);

}  // namespace weir::stream::proxy
