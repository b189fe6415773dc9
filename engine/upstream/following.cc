#include "engine/upstream/following.h"

#include <algorithm>

#include "engine/event/loop.h"

namespace weir::upstream {

namespace {

constexpr uint64_t kShortestWait = 1000;
constexpr uint64_t kFailedWait = 10000;  // at most, for what does not exist
constexpr uint64_t kLongestPause = 30000;
constexpr int kNoSuchName = 3;
constexpr size_t kMostServiceEndpoints = 256;
// Points of a consistent hash are kept in memory: 160 for each unit of weight.
constexpr uint64_t kMostWeightOfRing = 10000;

std::string error_line(const std::string& what, int error) {
  return what + " could not be resolved (" + std::to_string(error) + ": " +
         Resolver::error_text(error) + ")";
}

bool in_order(const Endpoint& a, const Endpoint& b) {
  if (a.priority != b.priority) return a.priority < b.priority;
  if (a.name != b.name) return a.name < b.name;
  const int order = a.address.bytes().compare(b.address.bytes());
  return order != 0 ? order < 0 : a.weight < b.weight;
}

}  // namespace

// A host that SRV records name.
struct FollowedName::Target {
  explicit Target(Event& event, const std::string& name) : name(name), question(event) {}
  std::string name;
  Question question;
};

FollowedName::FollowedName(Loop& loop, Resolver& resolver, FollowedQuestion question,
                           uint64_t timeout_milliseconds, std::vector<Endpoint> known,
                           Listener& listener)
    : loop_(loop),
      resolver_(resolver),
      question_(std::move(question)),
      timeout_(std::max(timeout_milliseconds, kShortestWait)),
      listener_(listener),
      event_(loop),
      endpoints_(std::move(known)),
      task_(follow()) {
  task_.start();
}

FollowedName::~FollowedName() = default;

Task<void> FollowedName::follow() {
  while (!found_) {
    uint64_t pause = 0;
    if (question_.service.empty()) {
      pause = co_await ask_host();
    } else {
      pause = co_await ask_service();
    }
    if (pause == 0) co_return;
    // A ring that came late is no reason to ask again.
    const uint64_t end = loop_.now() + pause;
    while (loop_.now() < end && !found_) {
      const Wait wait = co_await event_.wait(end - loop_.now());
      if (wait == Wait::cancelled) co_return;
    }
  }
}

// Until it is answered, or `end`; false: cancelled.
Task<bool> FollowedName::wait_for(const Question& question, uint64_t end) {
  while (!question.done() && loop_.now() < end) {
    const Wait wait = co_await event_.wait(end - loop_.now());
    if (wait == Wait::cancelled) co_return false;
  }
  co_return true;
}

Task<uint64_t> FollowedName::ask_host() {
  Question question(event_);
  resolver_.ask(question, question_.host);
  const bool goes_on = co_await wait_for(question, loop_.now() + timeout_);
  if (!goes_on) co_return 0;
  co_return take_host(question);
}

Task<uint64_t> FollowedName::ask_service() {
  Question records(event_);
  resolver_.ask_service(records, service_name(question_.host, question_.service));
  const uint64_t end = loop_.now() + timeout_;
  bool goes_on = co_await wait_for(records, end);
  std::vector<std::unique_ptr<Target>> targets;
  for (const ServiceRecord& record : records.answer().records) {
    const bool known = std::any_of(targets.begin(), targets.end(), [&](const auto& target) {
      return target->name == record.target;
    });
    if (known) continue;
    targets.push_back(std::make_unique<Target>(event_, record.target));
    resolver_.ask(targets.back()->question, record.target);
  }
  for (size_t i = 0; i < targets.size() && goes_on; ++i) {
    goes_on = co_await wait_for(targets[i]->question, end);
  }
  if (!goes_on) co_return 0;
  co_return take_service(records, targets);
}

int FollowedName::error_of(const Question& question) {
  return question.done() ? question.answer().error : Resolver::kTimedOut;
}

// How long to wait after an error.
uint64_t FollowedName::failed(int error, const std::string& what) {
  listener_.tell(Severity::error, error_line(what, error));
  if (question_.once) {
    pause_ = std::clamp(pause_ * 2, kShortestWait, kLongestPause);
    return pause_;
  }
  if (error != kNoSuchName) return timeout_;
  replace({});
  return std::min(timeout_, kFailedWait);
}

uint64_t FollowedName::take_host(const Question& question) {
  if (const int error = error_of(question)) return failed(error, question_.host);
  std::vector<Endpoint> found;
  std::string text;
  for (const net::Address& address : question.answer().addresses) {
    Endpoint endpoint;
    endpoint.address = address;
    text += (text.empty() ? "" : ", ") + address.host_text();
    found.push_back(std::move(endpoint));
  }
  if (question_.once) {
    // As if it had been found at once: in the order of the answer, and never asked for again.
    found_ = true;
    listener_.tell(Severity::notice, question_.host + " was resolved to " + text);
  } else {
    std::sort(found.begin(), found.end(), in_order);
  }
  replace(std::move(found));
  return std::max(question.answer().lifetime_milliseconds, kShortestWait);
}

uint64_t FollowedName::take_service(const Question& records,
                                    const std::vector<std::unique_ptr<Target>>& all) {
  const std::string what = "service " + question_.service + " of " + question_.host;
  if (const int error = error_of(records)) return failed(error, what);
  uint64_t lifetime = records.answer().lifetime_milliseconds;
  int worst = 0;
  for (const auto& target : all) {
    const int error = error_of(target->question);
    lifetime =
        std::min(lifetime, error ? kFailedWait : target->question.answer().lifetime_milliseconds);
    if (!error) continue;
    if (worst != kNoSuchName) worst = error;
    listener_.tell(Severity::error, error_line(target->name, error) + " while resolving " + what);
  }
  std::vector<Endpoint> found;
  for (const ServiceRecord& record : records.answer().records) {
    for (const auto& target : all) {
      if (target->name == record.target) add_endpoints(found, record, *target);
    }
  }
  if (found.empty()) return failed(worst ? worst : kNoSuchName, what);
  std::sort(found.begin(), found.end(), in_order);
  replace(std::move(found));
  return std::max(lifetime, kShortestWait);
}

void FollowedName::add_endpoints(std::vector<Endpoint>& found, const ServiceRecord& record,
                                 const Target& target) const {
  Endpoint endpoint;
  endpoint.name = record.target;
  endpoint.priority = record.priority;
  endpoint.weight = std::max<uint32_t>(record.weight, 1);
  const int error = error_of(target.question);
  if (error && error != kNoSuchName) {
    // The addresses of before stay.
    for (const Endpoint& before : endpoints_) {
      const bool same = before.name == record.target && before.address.port() == record.port;
      if (!same || found.size() >= kMostServiceEndpoints) continue;
      endpoint.address = before.address;
      found.push_back(endpoint);
    }
    return;
  }
  for (const net::Address& address : target.question.answer().addresses) {
    if (found.size() >= kMostServiceEndpoints) return;
    endpoint.address = address;
    endpoint.address.set_port(record.port);
    found.push_back(endpoint);
  }
}

void FollowedName::replace(std::vector<Endpoint> found) {
  if (found == endpoints_) return;
  endpoints_ = std::move(found);
  listener_.addresses_changed();
}

namespace {

FollowedQuestion question_of(const Server& server) {
  FollowedQuestion question;
  question.host = server.host;
  question.service = server.service;
  question.once = server.unresolved;
  return question;
}

// The addresses that the same server had before.
std::vector<Endpoint> known_of(const Server& server, const std::vector<Server>& before) {
  std::vector<Endpoint> known;
  for (const Server& old : before) {
    if (old.host != server.host || old.resolve) continue;
    for (const net::Address& address : old.addresses) {
      Endpoint endpoint;
      endpoint.address = address;
      endpoint.address.set_port(0);
      known.push_back(std::move(endpoint));
    }
    break;
  }
  return known;
}

// A server of each record. The lowest priority comes first, the others are there for backup; those
// of a backup server are left away.
void add_service(std::vector<Server>& servers, const Server& server, const FollowedName& name) {
  for (const Endpoint& endpoint : name.endpoints()) {
    const bool later = endpoint.priority != name.endpoints()[0].priority;
    if (later && server.backup) break;
    Server one = server;
    one.name = endpoint.name;
    one.backup = server.backup || later;
    if (server.weight == 1) one.weight = endpoint.weight;
    one.addresses.assign(1, endpoint.address);
    servers.push_back(std::move(one));
  }
}

// Weights of records are what a name server says: the ring that is made of them is bounded.
void limit_ring(Cluster& cluster) {
  if (cluster.method != Method::consistent_hash) return;
  const auto total = [&] {
    uint64_t sum = 0;
    for (const Server& server : cluster.servers) {
      if (!server.service.empty()) sum += server.weight;
    }
    return sum;
  };
  uint64_t sum = total();
  const size_t least = cluster.servers.size();
  while (sum > kMostWeightOfRing && sum > least) {
    for (Server& server : cluster.servers) server.weight = std::max<uint64_t>(server.weight / 2, 1);
    sum = total();
  }
}

}  // namespace

void FollowedCluster::use(const Cluster& cluster, Resolver* resolver, Resolver* system,
                          const std::vector<Server>& before) {
  std::vector<std::unique_ptr<FollowedName>> had = std::move(names_);
  names_.clear();
  for (const Server& server : cluster.servers) {
    if (!follows(server)) continue;
    const FollowedQuestion question = question_of(server);
    if (find(question)) continue;
    Resolver& asked = question.once ? *system : *resolver;
    const auto known = std::find_if(had.begin(), had.end(), [&](const auto& name) {
      return name && name->question() == question && &name->resolver() == &asked;
    });
    if (known != had.end()) {
      names_.push_back(std::move(*known));
      continue;
    }
    auto addresses = question.once ? known_of(server, before) : std::vector<Endpoint>();
    names_.push_back(std::make_unique<FollowedName>(loop_, asked, question,
                                                    static_cast<uint64_t>(cluster.resolver_timeout),
                                                    std::move(addresses), *this));
  }
  ++version_;
}

const FollowedName* FollowedCluster::find(const FollowedQuestion& question) const {
  for (const auto& name : names_) {
    if (name && name->question() == question) return name.get();
  }
  return nullptr;
}

Cluster FollowedCluster::filled(const Cluster& cluster) const {
  Cluster result = cluster;
  result.servers.clear();
  for (const Server& server : cluster.servers) {
    const FollowedName* name = follows(server) ? find(question_of(server)) : nullptr;
    if (name && !server.service.empty()) {
      add_service(result.servers, server, *name);
      continue;
    }
    result.servers.push_back(server);
    if (!follows(server)) continue;
    std::vector<net::Address>& addresses = result.servers.back().addresses;
    addresses.clear();
    if (!name) continue;
    for (const Endpoint& endpoint : name->endpoints()) {
      addresses.push_back(endpoint.address);
      addresses.back().set_port(server.port);
    }
  }
  limit_ring(result);
  return result;
}

}  // namespace weir::upstream
