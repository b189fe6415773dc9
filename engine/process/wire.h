#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace weir::process {

// Numbers and texts one after the other: what a plan is made of. Same machine, same program:
// numbers are written as they lie in memory.
class WireWriter {
 public:
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(std::string_view text) {
    put(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads what WireWriter wrote. Past the end everything is zero or empty, and failed() is true.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void get(T& value) {
    value = T{};
    if (rest_.size() < sizeof value) {
      fail();
      return;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
  }
  void get(std::string_view& text) {
    uint64_t size = 0;
    get(size);
    text = {};
    if (size > rest_.size()) {
      fail();
      return;
    }
    text = rest_.substr(0, size);
    rest_.remove_prefix(size);
  }
  void get(std::string& text) {
    std::string_view view;
    get(view);
    text = view;
  }
  // The length of a list: never more than what is left could hold.
  uint64_t count() {
    uint64_t value = 0;
    get(value);
    if (value > rest_.size()) fail();
    return failed_ ? 0 : value;
  }
  bool failed() const { return failed_; }

 private:
  void fail() {
    failed_ = true;
    rest_ = {};
  }
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace weir::process
