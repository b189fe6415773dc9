#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/world.h"

namespace weir::conf {

// Bytes of recorded answers: fixed-size integers in the machine's order (a bundle never leaves the
// machine, only the process) and strings with their length ahead. Readers check every length.
class ByteWriter {
 public:
  template <class T>
    requires std::is_integral_v<T>
  void put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void put(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
  }
  void put(const std::string& text) { put(std::string_view(text)); }
  void put(const SocketAddress& address) { put(address.bytes); }
  void put(const UserIdentity& identity) {
    put(identity.user);
    put(identity.group);
  }
  template <class T>
  void put(const std::vector<T>& list) {
    put(static_cast<uint32_t>(list.size()));
    for (const T& entry : list) put(entry);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  bool done() const { return bytes_.empty(); }

  template <class T>
    requires std::is_integral_v<T>
  bool get(T& value) {
    if (bytes_.size() < sizeof(T)) return false;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return true;
  }
  bool get(bool& value) {
    uint8_t byte = 0;
    if (!get(byte)) return false;
    value = byte != 0;
    return true;
  }
  bool get(std::string& text) {
    uint32_t length = 0;
    if (!get(length) || length > bytes_.size()) return false;
    text.assign(bytes_.substr(0, length));
    bytes_.remove_prefix(length);
    return true;
  }
  bool get(SocketAddress& address) { return get(address.bytes); }
  bool get(UserIdentity& identity) { return get(identity.user) && get(identity.group); }
  template <class T>
  bool get(std::vector<T>& list) {
    uint32_t count = 0;
    // Every entry takes at least its four bytes of length: a false count cannot make us allocate.
    if (!get(count) || count > bytes_.size() / 4) return false;
    list.resize(count);
    for (T& entry : list) {
      if (!get(entry)) return false;
    }
    return true;
  }

 private:
  std::string_view bytes_;
};

inline std::string bundle_key(char kind, const std::string& argument) {
  return kind + argument;
}
inline std::string resolve_argument(const std::string& host, uint16_t port) {
  return host + "\n" + std::to_string(port);
}

template <class T>
std::string encode_answer(const Answer<T>& answer) {
  ByteWriter writer;
  writer.put(answer.error);
  if (answer.ok()) writer.put(answer.value);
  return writer.take();
}

template <class T>
bool decode_answer(std::string_view bytes, Answer<T>& answer) {
  ByteReader reader(bytes);
  if (!reader.get(answer.error)) return false;
  return !answer.ok() || (reader.get(answer.value) && reader.done());
}

}  // namespace weir::conf
