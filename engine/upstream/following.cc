#include "engine/upstream/following.h"

#include <algorithm>

#include "engine/event/loop.h"

namespace weir::upstream {

namespace {

constexpr uint64_t kShortestWait = 1000;
constexpr int kNoSuchName = 3;

}  // namespace

FollowedName::FollowedName(Loop& loop, Resolver& resolver, std::string host,
                           uint64_t timeout_milliseconds, Listener& listener)
    : resolver_(resolver),
      host_(std::move(host)),
      timeout_(std::max(timeout_milliseconds, kShortestWait)),
      listener_(listener),
      event_(loop),
      task_(follow()) {
  task_.start();
}

FollowedName::~FollowedName() = default;

Task<void> FollowedName::follow() {
  while (true) {
    uint64_t pause = timeout_;
    {
      Resolver::Question question(event_);
      resolver_.ask(question, host_);
      Wait wait = Wait::done;
      while (!question.done() && wait == Wait::done) wait = co_await event_.wait(timeout_);
      if (wait == Wait::cancelled) co_return;
      pause = take(question);
    }
    // A ring that came late is no reason to ask again.
    Wait wait = Wait::done;
    while (wait == Wait::done) wait = co_await event_.wait(pause);
    if (wait == Wait::cancelled) co_return;
  }
}

// What the answer says; how long to wait until the next question.
uint64_t FollowedName::take(const Resolver::Question& question) {
  const Resolution& answer = question.answer();
  const int error = question.done() ? answer.error : Resolver::kTimedOut;
  std::vector<net::Address> found;
  if (error) {
    listener_.resolve_failed(host_, error, Resolver::error_text(error));
    if (error != kNoSuchName) return timeout_;
  } else {
    found = answer.addresses;
    std::sort(found.begin(), found.end(),
              [](const net::Address& a, const net::Address& b) { return a.bytes() < b.bytes(); });
  }
  if (found != addresses_) {
    addresses_ = std::move(found);
    listener_.addresses_changed();
  }
  return error ? timeout_ : std::max(answer.lifetime_milliseconds, kShortestWait);
}

void FollowedCluster::use(const Cluster& cluster, Resolver& resolver) {
  std::vector<std::unique_ptr<FollowedName>> before = std::move(names_);
  names_.clear();
  for (const Server& server : cluster.servers) {
    if (!server.resolve || find(server.host)) continue;
    const auto known = std::find_if(before.begin(), before.end(), [&](const auto& name) {
      return name && name->host() == server.host && resolver_ == &resolver;
    });
    if (known != before.end()) {
      names_.push_back(std::move(*known));
    } else {
      names_.push_back(std::make_unique<FollowedName>(
          loop_, resolver, server.host, static_cast<uint64_t>(cluster.resolver_timeout), *this));
    }
  }
  resolver_ = &resolver;
  ++version_;
}

const FollowedName* FollowedCluster::find(std::string_view host) const {
  for (const auto& name : names_) {
    if (name && name->host() == host) return name.get();
  }
  return nullptr;
}

Cluster FollowedCluster::filled(const Cluster& cluster) const {
  Cluster result = cluster;
  for (Server& server : result.servers) {
    if (!server.resolve) continue;
    server.addresses.clear();
    const FollowedName* name = find(server.host);
    if (!name) continue;
    for (net::Address address : name->addresses()) {
      address.set_port(server.port);
      server.addresses.push_back(std::move(address));
    }
  }
  return result;
}

}  // namespace weir::upstream
