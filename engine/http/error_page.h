#pragma once

#include <string_view>

#include "engine/http/phase.h"

namespace weir::http {

class Request;

// What a status that a handler ended with becomes: an error_page of the configuration, or nginx's
// own page for it.
struct ErrorPages {
  // The head is not sent yet. Answers done, or redirected when an error_page leads elsewhere.
  static PhaseResult answer(Request& request, int status);

 private:
  static bool use_error_page(Request& request, int status, PhaseResult& result);
  static PhaseResult send_page(Request& request, int status);
  static PhaseResult send_refresh(Request& request);
};

// The body nginx generates for a status, without its tail; empty: none.
std::string_view special_page(int status);

// What the User-Agent tells (nginx's headers_in.msie and so on).
struct AgentFacts {
  bool msie = false;
  bool msie6 = false;
  bool chrome = false;
  bool safari = false;
};
AgentFacts agent_facts(const Request& request);

}  // namespace weir::http
