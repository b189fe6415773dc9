#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/async/event.h"
#include "engine/async/task.h"
#include "engine/log/severity.h"
#include "engine/upstream/cluster.h"
#include "engine/upstream/resolver.h"

namespace weir::upstream {

// One address that a name came to.
struct Endpoint {
  net::Address address;   // port 0, unless it is a service's
  std::string name;       // a service's: the host that the record names
  uint32_t weight = 1;    // a service's: at least 1
  uint16_t priority = 0;  // a service's
  bool operator==(const Endpoint&) const = default;
};

// What is asked for.
struct FollowedQuestion {
  std::string host;
  std::string service;  // `service=`; empty: addresses of the host
  bool once = false;    // until it is found: it was not when the configuration was read
  bool operator==(const FollowedQuestion&) const = default;
};

// Asks for a name again and again, as its answers grow old, and keeps its addresses. A name that is
// known not to exist has none; after any other error the last ones stay.
class FollowedName {
 public:
  // Told when the addresses have changed, and what the log should say.
  struct Listener {
    virtual void addresses_changed() = 0;
    virtual void tell(Severity severity, const std::string& text) = 0;

   protected:
    ~Listener() = default;
  };
  // Begins at once, with the addresses that are known from before. The resolver and the listener
  // outlive it.
  FollowedName(Loop& loop, Resolver& resolver, FollowedQuestion question,
               uint64_t timeout_milliseconds, std::vector<Endpoint> known, Listener& listener);
  ~FollowedName();
  FollowedName(const FollowedName&) = delete;
  FollowedName& operator=(const FollowedName&) = delete;

  const FollowedQuestion& question() const { return question_; }
  const Resolver& resolver() const { return resolver_; }
  // In an order of their own, so that two workers agree; services by priority.
  const std::vector<Endpoint>& endpoints() const { return endpoints_; }

 private:
  using Question = Resolver::Question;
  struct Target;
  Task<void> follow();
  // Each ends with the time until the next question; 0: cancelled.
  Task<uint64_t> ask_host();
  Task<uint64_t> ask_service();
  Task<bool> wait_for(const Question& question, uint64_t end);
  uint64_t take_host(const Question& question);
  uint64_t take_service(const Question& records, const std::vector<std::unique_ptr<Target>>& all);
  void add_endpoints(std::vector<Endpoint>& found, const ServiceRecord& record,
                     const Target& target) const;
  void replace(std::vector<Endpoint> found);
  uint64_t failed(int error, const std::string& what);
  static int error_of(const Question& question);

  Loop& loop_;
  Resolver& resolver_;
  FollowedQuestion question_;
  uint64_t timeout_;
  uint64_t pause_ = 0;  // `once`: the last one
  bool found_ = false;  // `once`
  Listener& listener_;
  Event event_;
  std::vector<Endpoint> endpoints_;
  Task<void> task_;
};

// The names of one cluster's servers with `resolve`, and of those that were not found when the
// configuration was read. Knows them by what is asked, so that a new configuration finds the
// addresses that are known already.
class FollowedCluster final : public FollowedName::Listener {
 public:
  using Tell = void (*)(void* owner, Severity severity, const std::string& text);
  FollowedCluster(Loop& loop, Tell tell, void* owner) : loop_(loop), tell_(tell), owner_(owner) {}

  // Follows the names of this cluster from now on, and no others. `resolver` is asked for those
  // with `resolve`, `system` for the others; null when there are none of them. `before`: servers
  // of the configuration before, whose addresses the same ones have until they are found again.
  void use(const Cluster& cluster, Resolver* resolver, Resolver* system,
           const std::vector<Server>& before);
  // The cluster with the addresses that are known now.
  Cluster filled(const Cluster& cluster) const;
  // Grows with every change.
  uint64_t version() const { return version_; }
  static bool follows(const Server& server) { return server.resolve || server.unresolved; }

 private:
  void addresses_changed() override { ++version_; }
  void tell(Severity severity, const std::string& text) override { tell_(owner_, severity, text); }
  const FollowedName* find(const FollowedQuestion& question) const;

  Loop& loop_;
  Tell tell_;
  void* owner_;
  std::vector<std::unique_ptr<FollowedName>> names_;
  uint64_t version_ = 1;
};

}  // namespace weir::upstream
