#include "engine/upstream/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <unordered_map>

#include "confparse/value.h"
#include "engine/event/loop.h"
#include "engine/upstream/resolver_channel.h"
#include "engine/upstream/system_servers.h"

namespace weir::upstream {
namespace {

// A name server may say anything: what is kept is bounded.
constexpr size_t kMostNames = 10000;
constexpr int kMostAddresses = 64;
constexpr int64_t kMostSeconds = 86400 * 7;

struct Options {
  std::string servers;         // comma separated, for c-ares; empty: the system's
  bool as_the_system = false;  // hosts file and search domains too
  int64_t valid = 0;           // seconds, 0: as the answer says
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
    } else if (word == Resolver::kAsTheSystem) {
      options.as_the_system = true;
    } else if (const auto address = net::Address::parse(word, 53)) {
      if (!options.servers.empty()) options.servers += ",";
      options.servers += address->text();
    }
  }
  return options;
}

// Is there a way to it? (Nothing is sent.) What a machine without IPv6 cannot use is left away.
bool has_route(const net::Address& address) {
  net::Address to = address;
  to.set_port(53);
  const int descriptor = ::socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  const bool found = ::connect(descriptor, to.data(), to.size()) == 0;
  ::close(descriptor);
  return found;
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
    int type;  // 0: looked up as the system does
  };
  using Names = std::unordered_map<std::string, Name>;

  Implementation(Loop& loop, const Options& options) : loop(loop), options(options) {
    if (!options.servers.empty()) {
      channel = std::make_unique<ResolverChannel>(loop, options.servers, false);
    }
  }
  ~Implementation() {
    for (Names* all : {&names, &services}) {
      for (auto& [name, entry] : *all) {
        for (Question* question : entry.waiting) question->resolver_ = nullptr;
        entry.waiting.clear();
      }
    }
    closing = true;
    channel.reset();
  }
  Names& names_of(const Question& question) { return question.service_ ? services : names; }
  Names& names_of(int type) { return type == ns_t_srv ? services : names; }

  // Before a question: the system's servers of today. What the others were asked, these are.
  void refresh() {
    if (!options.servers.empty() || !system.changed()) return;
    std::string servers = system.read();
    if (servers == system_servers && !options.as_the_system) return;
    system_servers = std::move(servers);
    changing = true;
    channel = std::make_unique<ResolverChannel>(loop, system_servers, options.as_the_system);
    changing = false;
    std::vector<std::unique_ptr<Asked>> again = std::move(lost);
    lost.clear();
    for (auto& asked : again) send(std::move(asked));
  }
  void send(std::unique_ptr<Asked> asked) {
    const std::string name = asked->name;
    const int type = asked->type;
    if (type == 0) {
      channel->look_up(name, &found, asked.release());
    } else {
      channel->ask(name, type, &answered, asked.release());
    }
  }
  void send(const std::string& name, int type) {
    send(std::make_unique<Asked>(Asked{this, name, type}));
  }

  void ask(const std::string& name, Name& entry, bool service) {
    entry.collected = Resolution();
    entry.lifetime = kMostSeconds;
    entry.worst = 0;
    const bool one = service || options.as_the_system;
    entry.outstanding = one ? 1 : options.ipv4 + options.ipv6;
    if (!channel || !channel->usable() || entry.outstanding == 0) {
      entry.worst = 2;
      entry.outstanding = 0;
      return complete(service ? services : names, name, entry);
    }
    // A query may be answered at once: the entry is looked up again by name each time.
    if (service) return send(name, ns_t_srv);
    if (one) return send(name, 0);
    const bool both = options.ipv4 && options.ipv6;
    send(name, options.ipv4 ? ns_t_a : ns_t_aaaa);
    if (both) send(name, ns_t_aaaa);
  }

  // The name that an answer is for, or null. Takes note of questions that went with a channel.
  static Name* name_of(std::unique_ptr<Asked>& asked, int status) {
    Implementation& self = *asked->self;
    if (self.closing) return nullptr;
    if (status == ARES_EDESTRUCTION && self.changing) {
      self.lost.push_back(std::move(asked));
      return nullptr;
    }
    Names& names = self.names_of(asked->type);
    const auto at = names.find(asked->name);
    return at == names.end() ? nullptr : &at->second;
  }
  static void answered(void* argument, int status, int, unsigned char* data, int size) {
    std::unique_ptr<Asked> asked(static_cast<Asked*>(argument));
    Name* entry = name_of(asked, status);
    if (!entry) return;
    Implementation& self = *asked->self;
    if (status == ARES_SUCCESS) status = self.collect(*entry, asked->type, data, size);
    self.count(*asked, *entry, status);
  }
  static void found(void* argument, int status, int, ares_addrinfo* list) {
    std::unique_ptr<Asked> asked(static_cast<Asked*>(argument));
    Name* entry = name_of(asked, status);
    if (entry && status == ARES_SUCCESS) status = collect(*entry, *list);
    if (list) ares_freeaddrinfo(list);
    if (entry) asked->self->count(*asked, *entry, status);
  }
  void count(const Asked& asked, Name& entry, int status) {
    if (status != ARES_SUCCESS) entry.worst = std::max(entry.worst, nginx_error(status));
    if (--entry.outstanding == 0) complete(names_of(asked.type), asked.name, entry);
  }

  // IPv4 first, as nginx has them.
  static int collect(Name& entry, const ares_addrinfo& list) {
    for (const int family : {AF_INET, AF_INET6}) {
      for (const ares_addrinfo_node* node = list.nodes; node; node = node->ai_next) {
        if (node->ai_family != family) continue;
        if (entry.collected.addresses.size() >= kMostAddresses) break;
        const char* bytes = reinterpret_cast<const char*>(node->ai_addr);
        net::Address address = net::Address::from_bytes({bytes, node->ai_addrlen});
        address.set_port(0);
        if (has_route(address)) entry.collected.addresses.push_back(std::move(address));
      }
    }
    entry.lifetime = 0;
    return entry.collected.addresses.empty() ? ARES_ENODATA : ARES_SUCCESS;
  }
  static int collect_services(Name& entry, const unsigned char* data, int size) {
    ServiceAnswer found = parse_service_answer(data, static_cast<size_t>(size));
    if (!found.ok) return ARES_EBADRESP;
    if (found.records.empty()) return ARES_ENODATA;
    entry.collected.records = std::move(found.records);
    entry.lifetime = std::min<int64_t>(entry.lifetime, found.lifetime_seconds);
    return ARES_SUCCESS;
  }
  int collect(Name& entry, int type, const unsigned char* data, int size) {
    if (type == ns_t_srv) return collect_services(entry, data, size);
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

  void complete(Names& names, const std::string& name, Name& entry) {
    if (entry.collected.addresses.empty() && entry.collected.records.empty()) {
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
    for (Names* all : {&names, &services}) {
      for (auto at = all->begin(); at != all->end();) {
        const bool idle = at->second.outstanding == 0 && at->second.waiting.empty();
        at = idle && at->second.good_until <= loop.now() ? all->erase(at) : std::next(at);
      }
    }
  }

  Loop& loop;
  Options options;
  std::unique_ptr<ResolverChannel> channel;
  SystemServers system;
  std::string system_servers;
  bool changing = false;  // the channel, for other servers
  bool closing = false;
  std::vector<std::unique_ptr<Asked>> lost;  // questions that went with the channel before
  Names names;
  Names services;
};

Resolver::Resolver(Loop& loop, const std::vector<std::string>& words)
    : implementation_(std::make_unique<Implementation>(loop, read_words(words))) {}

Resolver::~Resolver() = default;

Resolver::Question::~Question() {
  if (!resolver_) return;
  auto& names = resolver_->implementation_->names_of(*this);
  const auto at = names.find(name_);
  if (at != names.end()) std::erase(at->second.waiting, this);
}

void Resolver::ask(Question& question, std::string_view name) {
  Implementation& self = *implementation_;
  Implementation::Names& names = self.names_of(question);
  question.name_ = conf::lower_case(name);
  if (question.name_.ends_with('.')) question.name_.pop_back();
  if (names.size() >= kMostNames) self.forget_old();
  if (question.name_.empty() || names.size() >= kMostNames) {
    question.answer_.error = question.name_.empty() ? 3 : 2;
    question.answer_.text = error_text(question.answer_.error);
    question.done_ = true;
    return;
  }
  Implementation::Name& known = names[question.name_];
  if (known.outstanding == 0 && known.good_until > self.loop.now()) {
    return self.give(question, known);
  }
  question.resolver_ = this;
  known.waiting.push_back(&question);
  // `complete` may come from inside, of this name and of others.
  const std::string asked = question.name_;
  const bool service = question.service_;
  self.refresh();
  const auto entry = names.find(asked);
  if (entry == names.end() || entry->second.outstanding > 0 || entry->second.waiting.empty()) {
    return;
  }
  self.ask(asked, entry->second, service);
}

void Resolver::ask_service(Question& question, std::string_view name) {
  question.service_ = true;
  ask(question, name);
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
