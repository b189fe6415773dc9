#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/async/event.h"
#include "engine/net/address.h"
#include "engine/upstream/service_records.h"

namespace weir {
class Loop;
}

namespace weir::upstream {

// What a name came to. `error` 0, or nginx's number for the log: 1 to 5 as in a DNS answer (3: Host
// not found), 110 timed out.
struct Resolution {
  std::vector<net::Address> addresses;  // port 0
  std::vector<ServiceRecord> records;   // of ask_service(); at least one unless there is an error
  int error = 0;
  uint64_t lifetime_milliseconds = 0;  // how long the addresses are good for
  const char* text = "";               // of the error: "Host not found"
};

// Asks the name servers of one `resolver` directive, or the system's, and remembers answers for
// their time to live (or valid=). One per worker and list of words, whatever the generation. The
// system's servers are followed: whether they have changed is looked at before a question.
class Resolver {
 public:
  // A question under way. Destroying it takes it back.
  class Question {
   public:
    explicit Question(Event& event) : event_(event) {}
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;
    ~Question();
    bool done() const { return done_; }
    const Resolution& answer() const { return answer_; }

   private:
    friend class Resolver;
    Event& event_;
    Resolver* resolver_ = nullptr;
    std::string name_;
    bool service_ = false;
    Resolution answer_;
    bool done_ = false;
  };

  // `words` as read_resolver() leaves them: addresses of servers or kSystem, valid=, ipv4=, ipv6=.
  Resolver(Loop& loop, const std::vector<std::string>& words);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Answers at once when the name is remembered; else the question's event rings when it is done.
  // Case and a final dot do not matter.
  void ask(Question& question, std::string_view name);
  // The SRV records of a name. The answer has `records`.
  void ask_service(Question& question, std::string_view name);

  // The system's name servers, asked by DNS as others are.
  static constexpr const char* kSystem = "system:";
  // Names as the system finds them: also in the hosts file, and with search domains.
  static constexpr const char* kAsTheSystem = "as-the-system:";
  static const char* error_text(int error);
  static constexpr int kTimedOut = 110;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace weir::upstream
