#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/template.h"
#include "engine/base/md5.h"
#include "engine/zone/table.h"
#include "engine/zone/zone.h"

// Clients that stay with a server (`sticky`). A server is known to clients by its name: its
// `route=`, or the MD5 of its address in hexadecimal.
namespace weir::upstream {

// `sticky` of one group. Part of the generation.
struct StickyPolicy {
  enum class Kind : uint8_t { cookie, route, learn };
  enum class Expires : uint8_t { session, max, after };
  Kind kind = Kind::cookie;

  // cookie: what the client is given.
  std::string cookie;
  Expires expires = Expires::session;
  int64_t expires_seconds = 0;  // after
  conf::Template domain;        // empty: none
  std::string path;
  conf::Template same_site;  // "Strict", "Lax", "None" or what a variable says; empty: none
  bool http_only = false;
  bool secure = false;

  // route: where the server's name may be; learn: where the session's name may be in a request. The
  // first that is not empty counts.
  std::vector<conf::Template> lookup;

  // learn: where the name of a new session may be, once there is an answer.
  std::vector<conf::Template> create;
  std::shared_ptr<zone::Zone> zone;
  int64_t timeout_milliseconds = 600'000;
  bool at_head = false;  // a session begins with the head of the answer, not with its end
};

// The first value that is not empty.
std::string_view first_value(const std::vector<conf::Template>& templates,
                             conf::VariableSource& source);

// A session in a zone, by the MD5 of its name.
struct LearnedSession : zone::Entry {
  Md5Digest server = {};  // of the server's name
  uint64_t used = 0;      // the clock of all processes (Loop::now()), milliseconds
};
struct LearnedSessions {
  zone::Table<LearnedSession> table;  // in the order of use
  void start(zone::Lock& lock) { table.start(lock); }
};

// The server of a session, which is used now; none: not known, or not used for too long.
std::optional<Md5Digest> find_session(const StickyPolicy& policy, std::string_view session,
                                      uint64_t now);
// Binds a session to a server. Where there is no room, those go that were used longest ago.
void learn_session(const StickyPolicy& policy, std::string_view session, const Md5Digest& server,
                   uint64_t now);

}  // namespace weir::upstream
