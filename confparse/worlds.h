#pragma once

#include <map>
#include <string>
#include <string_view>

#include "confparse/world.h"

namespace weir::conf {

inline constexpr size_t kLargestConfigurationFile = 64u << 20;

// Recorded answers of a World. Travels from the master to the workers as bytes.
class Bundle {
 public:
  // `key` is the question: its kind and its argument. The first answer stays.
  void record(const std::string& key, std::string&& answer) {
    answers_.try_emplace(key, std::move(answer));
  }
  const std::string* find(const std::string& key) const;
  size_t size() const { return answers_.size(); }

  std::string serialize() const;
  // False when the bytes are not a bundle (then `out` is empty). Reads no more than it is given.
  static bool parse(std::string_view bytes, Bundle& out);

 private:
  std::map<std::string, std::string> answers_;
};

// Reads files; the base of the worlds that see the real disk.
class DiskWorld : public World {
 public:
  Answer<std::string> read_file(const std::string& path) override;
  Answer<std::vector<std::string>> expand(const std::string& pattern) override;
  Answer<std::string> host_name() override;
  Answer<bool> is_directory(const std::string& path) override;
};

// Does everything, and records it when a bundle is given.
class RealWorld : public DiskWorld {
 public:
  explicit RealWorld(Bundle* record = nullptr) : bundle_(record) {}
  Answer<std::string> read_file(const std::string& path) override;
  Answer<std::vector<std::string>> expand(const std::string& pattern) override;
  Answer<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port) override;
  Answer<UserIdentity> user(const std::string& name) override;
  Answer<gid_t> group(const std::string& name) override;
  Answer<std::string> host_name() override;
  Answer<bool> privileged() override;
  Answer<bool> is_directory(const std::string& path) override;
  Answer<std::string> derive(const std::string& question, const Make& make) override;

 private:
  Bundle* bundle_;
};

// Answers from a bundle. A question that is not in it gets ENOENT (EAI_NONAME for names), and
// missing() says so: the reload must fail then.
class ReplayWorld : public World {
 public:
  explicit ReplayWorld(const Bundle& bundle) : bundle_(bundle) {}
  Answer<std::string> read_file(const std::string& path) override;
  Answer<std::vector<std::string>> expand(const std::string& pattern) override;
  Answer<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port) override;
  Answer<UserIdentity> user(const std::string& name) override;
  Answer<gid_t> group(const std::string& name) override;
  Answer<std::string> host_name() override;
  Answer<bool> privileged() override;
  Answer<bool> is_directory(const std::string& path) override;
  Answer<std::string> derive(const std::string& question, const Make& make) override;
  // The first question that the bundle could not answer; empty when there was none.
  const std::string& missing() const { return missing_; }

 private:
  template <class T>
  Answer<T> answer(char kind, const std::string& argument, int absent);

  const Bundle& bundle_;
  std::string missing_;
};

// Reads files and does nothing else: every name resolves to 127.0.0.1 (or, with look_up, as in
// reality), and every user and group exists.
class DryWorld : public DiskWorld {
 public:
  explicit DryWorld(bool look_up = false) : look_up_(look_up) {}
  Answer<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port) override;
  Answer<UserIdentity> user(const std::string& name) override;
  Answer<gid_t> group(const std::string& name) override;

 private:
  bool look_up_;
};

// Files in memory. Folders exist where a file lies below them. Names resolve when they are in
// `hosts` (to that IPv4 address), or all to 127.0.0.1 when `hosts` is empty.
class VirtualWorld : public World {
 public:
  // Over the limits a file is answered with EFBIG, further reads with EMFILE.
  explicit VirtualWorld(size_t most_reads = 10'000, size_t most_bytes = 64u << 20)
      : reads_left_(most_reads), bytes_left_(most_bytes) {}
  void add_file(std::string path, std::string text) { files_[std::move(path)] = std::move(text); }
  void add_host(std::string name, std::string address) {
    hosts_[std::move(name)] = std::move(address);
  }

  Answer<std::string> read_file(const std::string& path) override;
  Answer<std::vector<std::string>> expand(const std::string& pattern) override;
  Answer<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port) override;
  Answer<UserIdentity> user(const std::string& name) override;
  Answer<gid_t> group(const std::string& name) override;
  Answer<std::string> host_name() override;
  Answer<bool> is_directory(const std::string& path) override;

 private:
  std::map<std::string, std::string> files_;
  std::map<std::string, std::string> hosts_;
  size_t reads_left_;
  size_t bytes_left_;
};

// The kernel's form of an IPv4 or IPv6 address in text; empty when it is neither.
SocketAddress address_of_text(const std::string& text, uint16_t port);

}  // namespace weir::conf
