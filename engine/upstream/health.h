#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "confparse/ref.h"
#include "engine/event/deferred.h"
#include "engine/generation.h"
#include "engine/log/error_log.h"
#include "engine/net/address.h"

namespace weir {
struct Worker;
}

// Active health checks, whatever they speak. A `health_check` line is a HealthCheck of its cluster;
// for each peer it makes a Prober, which says whether one check passed; the HealthMonitor of the
// cluster (health_monitor.h) decides when, and keeps the HealthState that balancers ask.
namespace weir::upstream {

struct Cluster;

enum class Health : uint8_t {
  up,
  checking,   // mandatory: gets nothing until the first check has passed
  unhealthy,  // gets nothing until enough checks in a row have passed
};

// How the outcomes of checks are judged.
struct HealthPolicy {
  uint64_t interval_milliseconds = 5000;
  uint64_t jitter_milliseconds = 0;
  uint32_t fails = 1;       // in a row, until a server is unhealthy
  uint32_t passes = 1;      // in a row, until it is healthy again
  bool mandatory = false;   // it begins as `checking`, also after a reload
  bool persistent = false;  // … but not after a reload if it was healthy before
};

// What one check knows of one peer. Plain data: it stands in the zone of the cluster.
struct HealthState {
  Health health = Health::up;
  bool known = false;  // begin_health() was called
  uint32_t fails = 0;  // in a row
  uint32_t passes = 0;
  uint64_t generation = 0;  // number of the last one that began with it
  uint64_t due = 0;         // Loop::now() of the next check
};

// A generation begins to use this state: new ones and those of mandatory checks are reset. Older
// generations than the last change nothing.
void begin_health(HealthState& state, const HealthPolicy& policy, uint64_t generation);

enum class HealthChange : uint8_t { none, became_healthy, became_unhealthy };
// A check is over.
HealthChange note_check(HealthState& state, const HealthPolicy& policy, bool passed);
// When the next check is due after one that is over at `now`; `chance` is a random number.
uint64_t next_check(const HealthPolicy& policy, uint64_t now, uint64_t chance);

// One process at a time does the checks of a cluster: it renews its lease before that runs out.
struct Lease {
  uint32_t process = 0;
  uint64_t until = 0;  // Loop::now()
  // True: `process` holds it from now on, for `time`. `holder_lives`: is there still a process of
  // the number that held it?
  bool take(uint32_t by, uint64_t now, uint64_t time, bool (*holder_lives)(uint32_t process));
  void leave(uint32_t by) {
    if (process == by) *this = Lease();
  }
};

class Prober;
class HealthCheck;

enum class ProbeResult : uint8_t {
  passed,
  failed,
  unknown,  // it could not be made, for reasons of our own
};

// Told of each check that is over; from the loop's top level.
class ProbeListener {
 public:
  virtual void probe_over(Prober& prober, ProbeResult result) = 0;

 protected:
  ~ProbeListener() = default;
};

// Whom a Prober checks, and for whom.
struct ProbeTarget {
  Worker& worker;
  Ref<Generation> generation;  // kept as long as the prober
  const Cluster& cluster;      // of the generation
  const HealthCheck& check;    // of the generation
  net::Address address;        // with the port of `port=`
  std::string peer;            // as the log names it
};

// Checks one peer, again and again. Destroying it ends what is under way.
class Prober {
 public:
  Prober(ProbeTarget target, ProbeListener& listener);
  virtual ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  // Begins a check; none is under way. The listener is told later, once.
  virtual void begin() = 0;
  // `TEXT (errno) while ACTIVITY, health check "match" of peer ADDRESS in upstream "name"`.
  void log(Severity severity, std::string_view text, int error_number = 0);

 protected:
  // The same for a text that says itself what was being done.
  void log_whole(Severity severity, std::string line);
  // What is being done, as the log says it; static text. It stays for the line that tells of a
  // change.
  void set_activity(const char* activity) { activity_ = activity; }
  // This check is over.
  void finish(ProbeResult result);
  Worker& worker() { return target_.worker; }
  const ProbeTarget& target() const { return target_; }

 private:
  static void tell(void* self);
  ProbeTarget target_;
  ProbeListener& listener_;
  const char* activity_ = "";
  ProbeResult result_ = ProbeResult::unknown;
  Deferred over_;
};

// One `health_check` line. Part of the generation.
class HealthCheck {
 public:
  virtual ~HealthCheck() = default;
  HealthPolicy policy;
  std::string match;  // name of the match block; empty: none
  uint16_t port = 0;  // 0: that of the peer
  // What tells it from other checks of its cluster, also over reloads: a check that asks for
  // something else begins anew.
  std::string key;
  virtual std::unique_ptr<Prober> make_prober(ProbeTarget target,
                                              ProbeListener& listener) const = 0;
  virtual const ErrorLogTargets& log_targets(const Generation& generation) const = 0;
};

}  // namespace weir::upstream
