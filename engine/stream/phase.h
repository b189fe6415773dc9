#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::stream {

class Session;

// nginx's phases of a session, in order. `log` has its own list (Hooks::log_handlers).
enum class Phase : uint8_t { post_accept, preaccess, access, ssl, preread, content };
inline constexpr size_t kPhaseCount = 6;

// What a handler says. wait: it goes on later, by Session::resume() (preread: when more bytes have
// come) or Session::finish().
struct PhaseResult {
  enum class Kind : uint8_t { next, pass, wait, end } kind = Kind::next;
  int status = 0;
  static PhaseResult next() { return {}; }               // the phase's next handler
  static PhaseResult pass() { return {Kind::pass, 0}; }  // the next phase
  static PhaseResult wait() { return {Kind::wait, 0}; }
  static PhaseResult end(int status) { return {Kind::end, status}; }  // $status
};
using PhaseHandler = PhaseResult (*)(Session&);

}  // namespace weir::stream
