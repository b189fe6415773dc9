#include "engine/upstream/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <sys/epoll.h>

#include <algorithm>
#include <unordered_map>

#include "confparse/value.h"
#include "engine/event/loop.h"
#include "engine/event/timer.h"
#include "engine/event/watcher.h"

namespace weir::upstream {
namespace {

// A name server may say anything: what is kept is bounded.
constexpr size_t kMostNames = 10000;
constexpr int kMostAddresses = 64;
constexpr int64_t kMostSeconds = 86400 * 7;

struct Options {
  std::string servers;  // comma separated, for c-ares
  int64_t valid = 0;    // seconds, 0: as the answer says
  bool ipv4 = true;
  bool ipv6 = true;
};

Options read_words(const std::vector<std::string>& words) {
  Options options;
  for (const std::string& word : words) {
    if (word.starts_with("valid=")) {
      options.valid = conf::parse_seconds(std::string_view(word).substr(6)).value_or(0);
    } else if (word.starts_with("ipv4=")) {
      options.ipv4 = word != "ipv4=off";
    } else if (word.starts_with("ipv6=")) {
      options.ipv6 = word != "ipv6=off";
    } else if (const auto address = net::Address::parse(word, 53)) {
      if (!options.servers.empty()) options.servers += ",";
      options.servers += address->text();
    }
  }
  return options;
}

int nginx_error(int status) {
  switch (status) {
    case ARES_EFORMERR:
      return 1;
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
      return 3;
    case ARES_ENOTIMP:
      return 4;
    case ARES_EREFUSED:
      return 5;
    case ARES_ETIMEOUT:
      return Resolver::kTimedOut;
    default:
      return 2;
  }
}

}  // namespace

struct Resolver::Implementation {
  // A name: remembered, being asked for, or both (an old answer is not used meanwhile).
  struct Name {
    Resolution known;
    uint64_t good_until = 0;  // Loop::now()
    // While it is asked for:
    int outstanding = 0;
    Resolution collected;
    int64_t lifetime = kMostSeconds;
    int worst = 0;
    std::vector<Question*> waiting;
    uint32_t rotation = 0;
  };
  // What c-ares gives back with an answer.
  struct Asked {
    Implementation* self;
    std::string name;
    int type;
  };
  // c-ares' sockets, watched as it says.
  struct Watched {
    Watched(Implementation& self) : self(self), watcher(&Watched::ready, this) {}
    static void ready(void* owner, uint32_t events) {
      auto& watched = *static_cast<Watched*>(owner);
      watched.self.process(watched.watcher.descriptor(), events);
    }
    Implementation& self;
    Watcher watcher;
  };

  Implementation(Loop& loop, const Options& options)
      : loop(loop), options(options), timer(&Implementation::timed_out, this) {
    ares_library_init(ARES_LIB_INIT_ALL);
    ares_options setup{};
    setup.timeout = 2000;
    setup.tries = 8;  // resolver_timeout comes first
    setup.sock_state_cb = &Implementation::socket_state;
    setup.sock_state_cb_data = this;
    setup.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    char none[] = "b";
    setup.lookups = none;  // DNS only, no hosts file
    const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_FLAGS |
                     ARES_OPT_LOOKUPS;
    usable = ares_init_options(&channel, &setup, mask) == ARES_SUCCESS;
    if (usable) {
      usable = ares_set_servers_ports_csv(channel, options.servers.c_str()) == ARES_SUCCESS;
    }
  }
  ~Implementation() {
    for (auto& [name, entry] : names) {
      for (Question* question : entry.waiting) question->resolver_ = nullptr;
      entry.waiting.clear();
    }
    closing = true;
    if (channel) ares_destroy(channel);
    ares_library_cleanup();
  }

  static void socket_state(void* self, ares_socket_t descriptor, int read, int write) {
    static_cast<Implementation*>(self)->watch(descriptor, read, write);
  }
  void watch(int descriptor, bool read, bool write) {
    if (!read && !write) {
      const auto at = sockets.find(descriptor);
      if (at == sockets.end()) return;
      at->second->watcher.close();
      // c-ares may call from inside of a watcher's own callback.
      finished.push_back(std::move(at->second));
      sockets.erase(at);
      return;
    }
    const uint32_t events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
    auto& slot = sockets[descriptor];
    if (!slot) {
      slot = std::make_unique<Watched>(*this);
      (void)slot->watcher.open(loop, descriptor, events);
    } else {
      (void)slot->watcher.change(events);
    }
  }
  void process(int descriptor, uint32_t events) {
    const bool readable = events & (EPOLLIN | EPOLLERR | EPOLLHUP);
    const bool writable = events & EPOLLOUT;
    ares_process_fd(channel, readable ? descriptor : ARES_SOCKET_BAD,
                    writable ? descriptor : ARES_SOCKET_BAD);
    after();
  }
  static void timed_out(void* self) {
    auto& resolver = *static_cast<Implementation*>(self);
    ares_process_fd(resolver.channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver.after();
  }
  void after() {
    timeval most{5, 0};
    timeval wait{};
    timeval* next = ares_timeout(channel, &most, &wait);
    if (sockets.empty()) {
      timer.cancel();
    } else {
      timer.arm(loop, static_cast<uint64_t>(next->tv_sec) * 1000 +
                          static_cast<uint64_t>(next->tv_usec) / 1000 + 1);
    }
    finished.clear();
  }

  void ask(const std::string& name, Name& entry) {
    entry.collected = Resolution();
    entry.lifetime = kMostSeconds;
    entry.worst = 0;
    entry.outstanding = options.ipv4 + options.ipv6;
    if (!usable || options.servers.empty() || entry.outstanding == 0) {
      entry.worst = 2;
      entry.outstanding = 0;
      return complete(name, entry);
    }
    // A query may be answered at once: the entry is looked up again by name each time.
    if (options.ipv4)
      ares_query(channel, name.c_str(), ns_c_in, ns_t_a, &answered, new Asked{this, name, ns_t_a});
    if (options.ipv6)
      ares_query(channel, name.c_str(), ns_c_in, ns_t_aaaa, &answered,
                 new Asked{this, name, ns_t_aaaa});
    after();
  }

  static void answered(void* argument, int status, int, unsigned char* data, int size) {
    const std::unique_ptr<Asked> asked(static_cast<Asked*>(argument));
    Implementation& self = *asked->self;
    if (self.closing) return;
    const auto at = self.names.find(asked->name);
    if (at == self.names.end()) return;
    Name& entry = at->second;
    if (status == ARES_SUCCESS) status = self.collect(entry, asked->type, data, size);
    if (status != ARES_SUCCESS) entry.worst = std::max(entry.worst, nginx_error(status));
    if (--entry.outstanding == 0) self.complete(asked->name, entry);
  }

  int collect(Name& entry, int type, const unsigned char* data, int size) {
    int count = kMostAddresses;
    if (type == ns_t_a) {
      ares_addrttl found[kMostAddresses];
      const int status = ares_parse_a_reply(data, size, nullptr, found, &count);
      if (status != ARES_SUCCESS) return status;
      for (int i = 0; i < count; ++i) {
        add(entry, {reinterpret_cast<const char*>(&found[i].ipaddr), 4}, found[i].ttl);
      }
    } else {
      ares_addr6ttl found[kMostAddresses];
      const int status = ares_parse_aaaa_reply(data, size, nullptr, found, &count);
      if (status != ARES_SUCCESS) return status;
      for (int i = 0; i < count; ++i) {
        add(entry, {reinterpret_cast<const char*>(&found[i].ip6addr), 16}, found[i].ttl);
      }
    }
    return count ? ARES_SUCCESS : ARES_ENODATA;
  }
  static void add(Name& entry, std::string_view binary, int64_t ttl) {
    entry.collected.addresses.push_back(net::Address::from_binary(binary, 0));
    entry.lifetime = std::min(entry.lifetime, std::max<int64_t>(ttl, 0));
  }

  void complete(const std::string& name, Name& entry) {
    if (entry.collected.addresses.empty()) {
      entry.collected.error = entry.worst ? entry.worst : 3;
      entry.collected.text = error_text(entry.collected.error);
      entry.good_until = 0;
    } else {
      const int64_t seconds = options.valid ? options.valid : entry.lifetime;
      entry.good_until = loop.now() + static_cast<uint64_t>(seconds) * 1000;
    }
    entry.known = std::move(entry.collected);
    std::vector<Question*> waiting = std::move(entry.waiting);
    entry.waiting.clear();
    for (Question* question : waiting) give(*question, entry);
    if (entry.known.error) names.erase(name);
  }
  // Everybody gets another address first.
  void give(Question& question, Name& entry) {
    question.answer_ = entry.known;
    if (entry.good_until > loop.now()) {
      question.answer_.lifetime_milliseconds = entry.good_until - loop.now();
    }
    auto& addresses = question.answer_.addresses;
    if (addresses.size() > 1) {
      std::rotate(addresses.begin(),
                  addresses.begin() + static_cast<ptrdiff_t>(entry.rotation++ % addresses.size()),
                  addresses.end());
    }
    question.done_ = true;
    question.resolver_ = nullptr;
    question.event_.ring();
  }
  void forget_old() {
    for (auto at = names.begin(); at != names.end();) {
      const bool idle = at->second.outstanding == 0 && at->second.waiting.empty();
      at = idle && at->second.good_until <= loop.now() ? names.erase(at) : std::next(at);
    }
  }

  Loop& loop;
  Options options;
  ares_channel channel = nullptr;
  bool usable = false;
  bool closing = false;
  std::unordered_map<std::string, Name> names;
  std::unordered_map<int, std::unique_ptr<Watched>> sockets;
  std::vector<std::unique_ptr<Watched>> finished;
  Timer timer;
};

Resolver::Resolver(Loop& loop, const std::vector<std::string>& words)
    : implementation_(std::make_unique<Implementation>(loop, read_words(words))) {}

Resolver::~Resolver() = default;

Resolver::Question::~Question() {
  if (!resolver_) return;
  auto& names = resolver_->implementation_->names;
  const auto at = names.find(name_);
  if (at != names.end()) std::erase(at->second.waiting, this);
}

void Resolver::ask(Question& question, std::string_view name) {
  Implementation& self = *implementation_;
  question.name_ = conf::lower_case(name);
  if (question.name_.ends_with('.')) question.name_.pop_back();
  if (self.names.size() >= kMostNames) self.forget_old();
  if (question.name_.empty() || self.names.size() >= kMostNames) {
    question.answer_.error = question.name_.empty() ? 3 : 2;
    question.answer_.text = error_text(question.answer_.error);
    question.done_ = true;
    return;
  }
  Implementation::Name& entry = self.names[question.name_];
  if (entry.outstanding == 0 && entry.good_until > self.loop.now()) {
    return self.give(question, entry);
  }
  question.resolver_ = this;
  entry.waiting.push_back(&question);
  // `complete` may come from inside.
  const std::string asked = question.name_;
  if (entry.outstanding == 0) self.ask(asked, entry);
}

const char* Resolver::error_text(int error) {
  switch (error) {
    case 1:
      return "Format error";
    case 2:
      return "Server failure";
    case 3:
      return "Host not found";
    case 4:
      return "Unimplemented";
    case 5:
      return "Operation refused";
    case kTimedOut:
      return "Operation timed out";
    default:
      return "Unknown error";
  }
}

}  // namespace weir::upstream
