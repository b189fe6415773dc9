#include "engine/upstream/health.h"

#include "engine/upstream/cluster.h"
#include "engine/worker.h"

namespace weir::upstream {

void begin_health(HealthState& state, const HealthPolicy& policy, uint64_t generation) {
  if (!state.known) {
    state = HealthState();
    state.known = true;
    state.generation = generation;
    if (policy.mandatory) state.health = Health::checking;
    return;
  }
  if (generation <= state.generation) return;
  state.generation = generation;
  if (!policy.mandatory || (policy.persistent && state.health == Health::up)) return;
  state.health = Health::checking;
  state.fails = state.passes = 0;
  state.due = 0;
}

HealthChange note_check(HealthState& state, const HealthPolicy& policy, bool passed) {
  if (!passed) {
    state.passes = 0;
    if (state.fails < policy.fails) ++state.fails;
    if (state.health == Health::unhealthy || state.fails < policy.fails) return HealthChange::none;
    state.health = Health::unhealthy;
    return HealthChange::became_unhealthy;
  }
  state.fails = 0;
  if (state.passes < policy.passes) ++state.passes;
  if (state.health == Health::up) return HealthChange::none;
  if (state.health == Health::unhealthy && state.passes < policy.passes) return HealthChange::none;
  state.health = Health::up;
  return HealthChange::became_healthy;
}

uint64_t next_check(const HealthPolicy& policy, uint64_t now, uint64_t chance) {
  const uint64_t delay = policy.jitter_milliseconds ? chance % (policy.jitter_milliseconds + 1) : 0;
  return now + policy.interval_milliseconds + delay;
}

bool Lease::take(uint32_t by, uint64_t now, uint64_t time, bool (*holder_lives)(uint32_t process)) {
  if (process != 0 && process != by && now < until && holder_lives(process)) return false;
  process = by;
  until = now + time;
  return true;
}

Prober::Prober(ProbeTarget target, ProbeListener& listener)
    : target_(std::move(target)), listener_(listener), over_(&Prober::tell, this) {}

Prober::~Prober() = default;

void Prober::finish(ProbeResult result) {
  result_ = result;
  over_.schedule(target_.worker.loop);
}

void Prober::tell(void* self) {
  auto& prober = *static_cast<Prober*>(self);
  prober.listener_.probe_over(prober, prober.result_);
}

void Prober::log(Severity severity, std::string_view text, int error_number) {
  std::string line(text);
  if (error_number != 0) line += error_number_text(error_number);
  if (*activity_ != 0) line.append(" while ").append(activity_);
  log_whole(severity, std::move(line));
}

void Prober::log_whole(Severity severity, std::string line) {
  const ErrorLogTargets& targets = target_.check.log_targets(*target_.generation);
  if (!ErrorLog::wants(targets, severity)) return;
  line.append(", health check \"").append(target_.check.match).append("\" of peer ");
  line.append(target_.peer).append(" in upstream \"").append(target_.cluster.name).append("\"");
  if (target_.check.port) line.append(", port ").append(std::to_string(target_.check.port));
  target_.worker.error_log.write(targets, severity, 0, line);
}

}  // namespace weir::upstream
