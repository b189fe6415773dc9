#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/process/process_log.h"

namespace weir::process {

// The control socket beside the pid file ("<pid>.control", mode 0600): how `weir -s reload` asks
// for a reload and waits for its verdict. A client sends "reload"; the answer is one byte, '0' or
// '1', and the diagnostics. Only root and the user of the master are heard.
class ControlSocket {
 public:
  ControlSocket() = default;
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  ~ControlSocket() { close_all(); }

  // 0 or an errno; replaces a socket that was left behind. The file goes with remove().
  int open(const std::string& pid_file);
  void remove();
  // The pid file has another name now: a new socket, clients stay. 0 or an errno.
  int move(const std::string& pid_file);
  // In a forked child: closes without removing the file.
  void close_all();

  int descriptor() const { return listening_; }
  // Clients that have asked nothing yet: to be polled.
  const std::vector<int>& clients() const { return clients_; }
  // Accepts a client; reads a request. True when it was "reload": it waits for answer() then.
  void accept_client();
  bool read_client(int client);
  // For a process that does not poll clients: gives the request a moment to arrive.
  bool wait_and_read_client(int client);
  // Tells all who wait.
  void answer(bool accepted, std::string_view text);

 private:
  void drop(int client);
  int listening_ = -1;
  std::string path_;
  std::vector<int> clients_;
  std::vector<int> waiting_;
};

struct ControlAnswer {
  bool connected = false;  // false: nobody listens there
  bool answered = false;
  bool accepted = false;
  std::string text;
};

// The client's side. `master` is the process that must be on the other end.
ControlAnswer ask_reload(const std::string& pid_file, pid_t master);

}  // namespace weir::process
