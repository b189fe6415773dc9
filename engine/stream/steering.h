#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/event/timer.h"
#include "engine/event/watcher.h"
#include "engine/net/address.h"

namespace weir {
struct Worker;
}

namespace weir::stream {

class DatagramListener;

// Whose datagrams: who sent them and where to.
struct DatagramKey {
  const net::Address& peer;
  const net::Address& local;
};

// Keeps the datagrams of a running session coming to the worker that has it when the number of
// worker slots has changed, and with it the slot that a client's datagrams arrive at. A worker
// tells the others which of its sessions do not belong to its slot any more; who then gets a
// datagram of one of those passes it on. Nothing of this costs a datagram whose session is here.
//
// Workers reach each other by datagram sockets that the master made, one for each worker to read
// from. What comes in is checked for its form; what it says is believed, as all workers are alike.
class Steering final {
 public:
  explicit Steering(Worker& worker);
  ~Steering();
  Steering(const Steering&) = delete;
  Steering& operator=(const Steering&) = delete;

  // This worker's number among all that the master has ever started, and the end it reads from.
  // Takes the descriptor.
  void open(uint32_t number, int inbox);
  // One that was there when this worker was started, and will tell what it has: sockets are not
  // read until all of these have, or a second has passed. Takes the descriptor. Before any listener
  // is added.
  void expect_worker(uint32_t number, uint32_t slot, int descriptor);
  // The end to write to another worker. Takes the descriptor, in any case.
  void add_worker(uint32_t number, uint32_t slot, int descriptor);
  void remove_worker(uint32_t number) { forget(number); }
  // From now on there are so many slots (0: clients come to any worker, by the kernel's own rule);
  // the other workers are told what does not belong to this one's any more.
  void set_slots(uint32_t slots);

  void add(DatagramListener& listener) { listeners_.push_back(&listener); }
  // May listeners read? If not, DatagramListener::start() is called when they may.
  bool is_ready() const { return expected_.empty(); }
  void remove(DatagramListener& listener) { std::erase(listeners_, &listener); }

  // All that other workers have said so far. Before a session is made for a client that is not
  // known here; may make sessions, and end none.
  void read_inbox() {
    if (!others_.empty()) read_inbox(kMostMessages);
  }
  // A datagram that came from the kernel, of a client without a session here: true when another
  // worker has it now (or it is lost on the way, as datagrams are).
  bool pass_on(const net::Address& listening, const DatagramKey& key, std::string_view datagram);

 private:
  enum class Kind : uint8_t {
    sessions,     // the sender's sessions that do not belong to its slot; all of them
    datagram,     // of a session that the receiver has said it has
    returned,     // such a datagram: there is no session any more
    misdirected,  // of a client that belongs to the receiver's slot
  };
  static constexpr int kMostMessages = 100'000;
  struct Other {
    uint32_t number;
    uint32_t slot;
    int descriptor;
  };
  struct Head {
    uint32_t sender;
    Kind kind;
  };

  void read_inbox(int limit);
  static void readable(void* self, uint32_t);
  static void waited(void* self);
  void told_by(uint32_t number);
  Other* find(uint32_t number);
  Other* find_slot(uint32_t slot);
  void forget(uint32_t number);
  std::string displaced_sessions() const;
  void tell_sessions(Other& to, int file);
  // 0 or an errno; a worker that is gone is forgotten.
  int send(Other& to, Kind kind, std::string_view key, std::string_view datagram, int file = -1);
  void take_message(std::string_view message, int file);
  void take_sessions(uint32_t owner, int file);
  void take_datagram(const Head& head, std::string_view rest);
  // To the worker that has the session, if one does.
  bool pass_to_owner(const std::string& key, std::string_view datagram);

  Worker& worker_;
  Watcher watcher_;
  Timer timer_;
  int inbox_ = -1;
  uint32_t number_ = 0;
  uint32_t slots_ = 0;
  uint32_t slots_before_ = 0;  // some workers, and the kernel, go by these for a moment longer
  bool reading_ = false;
  std::vector<Other> others_;
  std::vector<uint32_t> expected_;  // their sessions are not known yet
  std::vector<DatagramListener*> listeners_;
  // Sessions that other workers have, by listening address, client and local address.
  std::unordered_map<std::string, uint32_t> owners_;
};

}  // namespace weir::stream
