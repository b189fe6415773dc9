#include <zlib.h>

#include <random>
#include <string>
#include <string_view>

#include "engine/upstream/round_robin.h"

// The balancers besides round robin. Each chooses as nginx does, and goes over to round robin (and
// with it to the backup servers) when it has looked at twenty servers in vain.

namespace weir::upstream {

namespace {

constexpr uint32_t kMostTries = 20;

// The server that position `at` of all weights belongs to.
size_t by_weight(const std::vector<WeightedPeer>& peers, uint64_t at) {
  size_t index = 0;
  while (index + 1 < peers.size() && at >= peers[index].weight) at -= peers[index++].weight;
  return index;
}

uint32_t crc_of(uint32_t crc, std::string_view text) {
  return static_cast<uint32_t>(
      crc32(crc, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

// hash KEY: the key's hash by the weights; what is not available hashes again.
class Hash final : public RoundRobin {
 public:
  Hash(Ref<PeerSet> peers, const BalancerClock& clock, std::string key)
      : RoundRobin(std::move(peers), clock), key_(std::move(key)) {}

 private:
  WeightedPeer* pick() override {
    if (looked_ > kMostTries || peers().primary.size() < 2 || key_.empty()) {
      return RoundRobin::pick();
    }
    const int64_t now = clock().now();
    while (true) {
      uint32_t crc = 0;
      if (rounds_ > 0) crc = crc_of(crc, std::to_string(rounds_));
      crc = crc_of(crc, key_);
      hash_ += crc >> 16 & 0x7fff;
      ++rounds_;
      const size_t index = by_weight(group(), hash_ % peers().total_weight());
      if (available(group()[index], index, now)) return take(index, now);
      if (++looked_ > kMostTries) return RoundRobin::pick();
    }
  }

  std::string key_;
  uint32_t hash_ = 0;
  uint32_t rounds_ = 0;
  uint32_t looked_ = 0;
};

// hash KEY consistent: the next point on the ring.
class ConsistentHash final : public RoundRobin {
 public:
  ConsistentHash(Ref<PeerSet> peers, const BalancerClock& clock, std::string_view key)
      : RoundRobin(std::move(peers), clock), has_key_(!key.empty()) {
    const uint32_t hash = crc_of(0, key);
    const std::vector<HashPoint>& ring = this->peers().ring();
    size_t begin = 0, end = ring.size();
    while (begin < end) {
      const size_t middle = (begin + end) / 2;
      (ring[middle].hash < hash ? begin : end) = ring[middle].hash < hash ? middle + 1 : middle;
    }
    point_ = begin;
  }

 private:
  WeightedPeer* pick() override {
    if (!has_key_ || peers().primary.empty()) return RoundRobin::pick();
    while (looked_ <= kMostTries) {
      const std::vector<HashPoint>& ring = peers().ring();
      if (WeightedPeer* peer = choose_named(ring[point_ % ring.size()].name)) return peer;
      ++point_;
      ++looked_;
    }
    return RoundRobin::pick();
  }

  // Round robin among the addresses of one name.
  WeightedPeer* choose_named(uint32_t name) {
    const int64_t now = clock().now();
    size_t best = group().size();
    int64_t total = 0;
    for (size_t i = 0; i < group().size(); ++i) {
      WeightedPeer& peer = group()[i];
      if (peer.name != name || !available(peer, i, now)) continue;
      PeerState& state = *peer.state;
      state.current_weight += state.effective_weight;
      total += state.effective_weight;
      if (state.effective_weight < peer.weight) ++state.effective_weight;
      if (best == group().size() || state.current_weight > group()[best].state->current_weight) {
        best = i;
      }
    }
    if (best == group().size()) return nullptr;
    group()[best].state->current_weight -= total;
    return take(best, now);
  }

  bool has_key_;
  size_t point_ = 0;
  uint32_t looked_ = 0;
};

// ip_hash: the first three bytes of an IPv4 address, the whole of an IPv6 one.
class IpHash final : public RoundRobin {
 public:
  IpHash(Ref<PeerSet> peers, const BalancerClock& clock, const net::Address* client)
      : RoundRobin(std::move(peers), clock), bytes_(3, '\0') {
    if (!client || !client->is_ip()) return;
    const std::string_view binary = client->binary();
    bytes_ = binary.size() == 4 ? binary.substr(0, 3) : binary;
  }

 private:
  WeightedPeer* pick() override {
    const int64_t now = clock().now();
    while (looked_ <= kMostTries && !peers().primary.empty()) {
      for (const char byte : bytes_) {
        hash_ = (hash_ * 113 + static_cast<unsigned char>(byte)) % 6271;
      }
      const size_t index = by_weight(group(), hash_ % peers().total_weight());
      if (available(group()[index], index, now)) return take(index, now);
      ++looked_;
    }
    return RoundRobin::pick();
  }

  std::string bytes_;
  uint32_t hash_ = 89;
  uint32_t looked_ = 0;
};

// Picks the available peer with the smallest load by its weight; equal ones take turns.
class Least : public RoundRobin {
 public:
  using RoundRobin::RoundRobin;

 protected:
  // What is compared; it is divided by the weight.
  virtual uint64_t load(const WeightedPeer& peer) const = 0;
  virtual bool less(const WeightedPeer& a, const WeightedPeer& b) const {
    return load(a) * b.weight < load(b) * a.weight;
  }
  // May a choice fall on it now, which is the best?
  virtual bool admits(const WeightedPeer&) const { return true; }
  int64_t share_of(const WeightedPeer& peer) const {
    return PeerSet::share(peer, clock().now_milliseconds());
  }

 private:
  WeightedPeer* pick() override {
    if (WeightedPeer* peer = choose_least()) return peer;
    return to_backup() ? choose_least() : nullptr;
  }

  WeightedPeer* choose_least() {
    const int64_t now = clock().now();
    const size_t none = group().size();
    std::vector<bool> passed_over;
    size_t instead = none;  // the best, where all are passed over
    while (true) {
      bool many = false;
      const size_t first = find_least(now, passed_over, many);
      if (first == none) return instead == none ? nullptr : take(instead, now);
      if (many) return take(take_turns(first, now, passed_over), now);
      if (admits(group()[first])) return take(first, now);
      if (instead == none) instead = first;
      passed_over.resize(group().size());
      passed_over[first] = true;
    }
  }

  bool is_candidate(size_t index, int64_t now, const std::vector<bool>& passed_over) {
    return available(group()[index], index, now) && (passed_over.empty() || !passed_over[index]);
  }

  // The number of peers, when there is none. `many`: there are others as good.
  size_t find_least(int64_t now, const std::vector<bool>& passed_over, bool& many) {
    const size_t none = group().size();
    size_t first = none;
    for (size_t i = 0; i < none; ++i) {
      if (!is_candidate(i, now, passed_over)) continue;
      if (first == none || less(group()[i], group()[first])) {
        first = i;
        many = false;
      } else if (!less(group()[first], group()[i])) {
        many = true;
      }
    }
    return first;
  }

  size_t take_turns(size_t first, int64_t now, const std::vector<bool>& passed_over) {
    size_t best = first;
    int64_t total = 0;
    for (size_t i = first; i < group().size(); ++i) {
      WeightedPeer& peer = group()[i];
      const bool equal = !less(peer, group()[best]) && !less(group()[best], peer);
      if (!equal || !is_candidate(i, now, passed_over)) continue;
      PeerState& state = *peer.state;
      const int64_t weight = turn_weight(peer);
      state.current_weight += weight;
      total += weight;
      if (state.effective_weight < peer.weight) ++state.effective_weight;
      if (state.current_weight > group()[best].state->current_weight) best = i;
    }
    group()[best].state->current_weight -= total;
    return best;
  }
};

// A server that comes back counts as one of little weight.
class LeastConnections final : public Least {
 public:
  using Least::Least;

 private:
  uint64_t load(const WeightedPeer& peer) const override { return peer.state->connections; }
  bool less(const WeightedPeer& a, const WeightedPeer& b) const override {
    if (peers().slow_starts()) return slowed_load(a) < slowed_load(b);
    return Least::less(a, b);
  }
  double slowed_load(const WeightedPeer& peer) const {
    return static_cast<double>(load(peer)) /
           (static_cast<double>(peer.weight) *
            static_cast<double>(std::max<int64_t>(share_of(peer), 1)));
  }
};

// The average time of an answer, less where the server was not asked lately; one whose requests
// under way wait longer than that counts with their time.
uint64_t answer_time(const PeerState& state, const Balancing& balancing, uint64_t now) {
  const uint64_t average =
      balancing.time == Balancing::Time::last_byte ? state.last_byte_time : state.header_time;
  uint64_t time = now > state.chosen ? aged(average, now - state.chosen) : average;
  if (balancing.in_flight && state.connections > 0) {
    const uint64_t began = state.began / state.connections;
    if (now > began) time = std::max(time, (now - began) * 1000);
  }
  return time;
}

// least_time: the average time of an answer, times the requests under way and this one.
class LeastTime final : public Least {
 public:
  LeastTime(Ref<PeerSet> peers, const BalancerClock& clock, const Balancing& balancing)
      : Least(std::move(peers), clock), balancing_(balancing) {}

 private:
  uint64_t load(const WeightedPeer& peer) const override {
    const PeerState& state = *peer.state;
    // Below a millisecond times are not told apart: the clock ticks so.
    const uint64_t time =
        std::max<uint64_t>(answer_time(state, balancing_, clock().now_milliseconds()), 1000);
    return time * (uint64_t{state.connections} + 1);
  }
  // A server that comes back may be the quickest: it takes a part of what falls on it.
  bool admits(const WeightedPeer& peer) const override {
    if (!peers().slow_starts()) return true;
    PeerState& state = *peer.state;
    state.slow_turns += static_cast<uint32_t>(share_of(peer));
    if (state.slow_turns < PeerSet::kWhole) return false;
    state.slow_turns -= PeerSet::kWhole;
    return true;
  }
  Balancing balancing_;
};

uint64_t random_number() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

// random: by weight; with two, the better of two.
class Random final : public RoundRobin {
 public:
  Random(Ref<PeerSet> peers, const BalancerClock& clock, const Balancing& balancing)
      : RoundRobin(std::move(peers), clock), balancing_(balancing) {}

 private:
  WeightedPeer* pick() override {
    if (looked_ > kMostTries || peers().primary.size() < (balancing_.two ? 2u : 1u)) {
      return RoundRobin::pick();
    }
    const int64_t now = clock().now();
    size_t before = group().size();
    while (true) {
      const size_t index = by_weight(group(), random_number() % peers().total_weight());
      if (index != before && available(group()[index], index, now)) {
        if (!balancing_.two) return take(index, now);
        if (before != group().size()) return take(better(index, before), now);
        before = index;
      }
      if (++looked_ > kMostTries) return RoundRobin::pick();
    }
  }

  size_t better(size_t index, size_t before) {
    const WeightedPeer& a = group()[index];
    const WeightedPeer& b = group()[before];
    return load(a) * b.weight > load(b) * a.weight ? before : index;
  }
  uint64_t load(const WeightedPeer& peer) const {
    const PeerState& state = *peer.state;
    if (balancing_.time == Balancing::Time::none) return state.connections;
    return std::max<uint64_t>(answer_time(state, balancing_, clock().now_milliseconds()), 1000) *
           (uint64_t{state.connections} + 1);
  }

  Balancing balancing_;
  uint32_t looked_ = 0;
};

std::unique_ptr<RoundRobin> make_balancer(Ref<PeerSet> peers, const Cluster& cluster,
                                          const Subject& subject, const BalancerClock& clock) {
  const Balancing& balancing = cluster.balancing;
  const auto key = [&] {
    return subject.variables ? balancing.key.evaluate(*subject.variables) : std::string_view();
  };
  switch (cluster.method) {
    case Method::round_robin:
      break;
    case Method::hash:
      return std::make_unique<Hash>(std::move(peers), clock, std::string(key()));
    case Method::consistent_hash:
      return std::make_unique<ConsistentHash>(std::move(peers), clock, key());
    case Method::ip_hash:
      return std::make_unique<IpHash>(std::move(peers), clock, subject.client);
    case Method::least_connections:
      return std::make_unique<LeastConnections>(std::move(peers), clock);
    case Method::least_time:
      return std::make_unique<LeastTime>(std::move(peers), clock, balancing);
    case Method::random:
      return std::make_unique<Random>(std::move(peers), clock, balancing);
  }
  return std::make_unique<RoundRobin>(std::move(peers), clock);
}

}  // namespace

std::unique_ptr<Selection> make_selection(Ref<PeerSet> peers, const Cluster& cluster,
                                          const Subject& subject, const BalancerClock& clock) {
  std::unique_ptr<RoundRobin> balancer = make_balancer(std::move(peers), cluster, subject, clock);
  if (subject.bound_to_digest || !subject.bound_to.empty()) balancer->bind(subject);
  return balancer;
}

}  // namespace weir::upstream
