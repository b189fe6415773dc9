#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/async/event.h"
#include "engine/async/task.h"
#include "engine/upstream/cluster.h"
#include "engine/upstream/resolver.h"

namespace weir::upstream {

// Asks for a name again and again, as its answers grow old, and keeps its addresses. A name that is
// known not to exist has none; after any other error the last ones stay.
class FollowedName {
 public:
  // Told when the addresses have changed, and of errors.
  struct Listener {
    virtual void addresses_changed() = 0;
    virtual void resolve_failed(const std::string& host, int error, const char* text) = 0;

   protected:
    ~Listener() = default;
  };
  // Begins at once. The resolver and the listener outlive it.
  FollowedName(Loop& loop, Resolver& resolver, std::string host, uint64_t timeout_milliseconds,
               Listener& listener);
  ~FollowedName();
  FollowedName(const FollowedName&) = delete;
  FollowedName& operator=(const FollowedName&) = delete;

  const std::string& host() const { return host_; }
  // Port 0; in an order of their own, so that two workers agree.
  const std::vector<net::Address>& addresses() const { return addresses_; }

 private:
  Task<void> follow();
  uint64_t take(const Resolver::Question& question);

  Resolver& resolver_;
  std::string host_;
  uint64_t timeout_;
  Listener& listener_;
  Event event_;
  std::vector<net::Address> addresses_;
  Task<void> task_;
};

// The names of one cluster's `server … resolve` lines. Knows them by host, so that a new
// configuration finds the addresses that are known already.
class FollowedCluster final : public FollowedName::Listener {
 public:
  using Failed = void (*)(void* owner, const std::string& host, int error, const char* text);
  FollowedCluster(Loop& loop, Failed failed, void* owner)
      : loop_(loop), failed_(failed), owner_(owner) {}

  // Follows the names of this cluster from now on, and no others.
  void use(const Cluster& cluster, Resolver& resolver);
  // The cluster with the addresses that are known now.
  Cluster filled(const Cluster& cluster) const;
  // Grows with every change.
  uint64_t version() const { return version_; }

 private:
  void addresses_changed() override { ++version_; }
  void resolve_failed(const std::string& host, int error, const char* text) override {
    failed_(owner_, host, error, text);
  }
  const FollowedName* find(std::string_view host) const;

  Loop& loop_;
  Failed failed_;
  void* owner_;
  Resolver* resolver_ = nullptr;
  std::vector<std::unique_ptr<FollowedName>> names_;
  uint64_t version_ = 1;
};

}  // namespace weir::upstream
