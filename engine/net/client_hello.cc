#include "engine/net/client_hello.h"

#include <algorithm>
#include <utility>

namespace weir::net {
namespace {

constexpr size_t kRecordHead = 5;
constexpr size_t kMessageHead = 4;
constexpr unsigned kHandshake = 22;
constexpr unsigned kClientHello = 1;
constexpr size_t kLargestRecord = 16384 + 256;
constexpr unsigned kExtensionServerName = 0;
constexpr unsigned kExtensionProtocols = 16;
constexpr unsigned kExtensionVersions = 43;
constexpr unsigned kHostName = 0;

// Takes numbers and pieces from the front; `ok` turns false where there is less than asked for.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  bool empty() const { return bytes_.empty(); }
  unsigned number(size_t size) {
    unsigned value = 0;
    for (const char byte : piece(size)) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  }
  std::string_view piece(size_t size) {
    if (bytes_.size() < size) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  // A piece with its length, `size` bytes long, in front.
  std::string_view counted(size_t size) { return piece(number(size)); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace

ClientHelloReader::State ClientHelloReader::read(std::string_view bytes) {
  std::string message;
  while (true) {
    const size_t seen = message.size();
    if (bytes.empty()) return State::need_more;
    const auto type = static_cast<unsigned char>(bytes[0]);
    if (type != kHandshake) {
      if (seen == 0) return read_old_hello(bytes);
      error_ = "not a handshake record";
      return State::broken;
    }
    if (bytes.size() >= 2 && bytes[1] != 3) {
      error_ = "unsupported SSL version";
      return seen == 0 ? State::not_tls : State::broken;
    }
    if (bytes.size() < kRecordHead) return State::need_more;
    const size_t length = static_cast<size_t>(static_cast<unsigned char>(bytes[3])) << 8 |
                          static_cast<unsigned char>(bytes[4]);
    if (length > kLargestRecord) {
      error_ = "invalid record length";
      return State::broken;
    }
    bytes.remove_prefix(kRecordHead);
    const size_t here = std::min(length, bytes.size());
    message.append(bytes.substr(0, here));
    if (!message.empty() && static_cast<unsigned char>(message[0]) != kClientHello) {
      error_ = "not a client hello";
      return State::broken;
    }
    if (message.size() >= kMessageHead) {
      Reader head(std::string_view(message).substr(1));
      const size_t size = head.number(3);
      if (message.size() - kMessageHead >= size) {
        return parse(std::string_view(message).substr(kMessageHead, size));
      }
    }
    if (here < length) return State::need_more;
    bytes.remove_prefix(length);
  }
}

// The hello of SSL 2, which may offer later versions: two bytes of length, its type, the version.
ClientHelloReader::State ClientHelloReader::read_old_hello(std::string_view bytes) {
  if (!(static_cast<unsigned char>(bytes[0]) & 0x80)) return State::not_tls;
  if (bytes.size() < 5) return State::need_more;
  if (static_cast<unsigned char>(bytes[2]) != kClientHello || (bytes[3] != 0 && bytes[3] != 3)) {
    return State::not_tls;
  }
  hello_ = {};
  hello_.version = static_cast<uint16_t>(static_cast<unsigned char>(bytes[3]) << 8 |
                                         static_cast<unsigned char>(bytes[4]));
  return State::done;
}

ClientHelloReader::State ClientHelloReader::parse(std::string_view body) {
  Reader reader(body);
  hello_ = {};
  hello_.version = static_cast<uint16_t>(reader.number(2));
  reader.piece(32);   // random
  reader.counted(1);  // session id
  reader.counted(2);  // ciphers
  reader.counted(1);  // compression methods
  if (!reader.ok()) {
    error_ = "invalid client hello";
    return State::broken;
  }
  if (reader.empty()) return State::done;
  const std::string_view extensions = reader.counted(2);
  if (!reader.ok() || !reader.empty() || !parse_extensions(extensions)) {
    error_ = "invalid extensions of client hello";
    return State::broken;
  }
  return State::done;
}

bool ClientHelloReader::parse_extensions(std::string_view bytes) {
  Reader reader(bytes);
  bool named = false;
  while (!reader.empty()) {
    const unsigned type = reader.number(2);
    const std::string_view extension = reader.counted(2);
    if (!reader.ok()) return false;
    if (type == kExtensionServerName && std::exchange(named, true)) return false;
    const bool fine = type == kExtensionServerName  ? parse_server_names(extension)
                      : type == kExtensionProtocols ? parse_protocols(extension)
                      : type == kExtensionVersions  ? parse_versions(extension)
                                                    : true;
    if (!fine) return false;
  }
  return reader.ok();
}

bool ClientHelloReader::parse_server_names(std::string_view bytes) {
  Reader list(bytes);
  Reader names(list.counted(2));
  if (!list.ok()) return false;
  while (!names.empty()) {
    const unsigned type = names.number(1);
    const std::string_view name = names.counted(2);
    if (!names.ok()) return false;
    if (type != kHostName || !names.empty()) return false;
    hello_.server_name = name;
    return true;
  }
  return false;
}

bool ClientHelloReader::parse_protocols(std::string_view bytes) {
  Reader list(bytes);
  Reader names(list.counted(2));
  if (!list.ok()) return false;
  while (!names.empty()) {
    const std::string_view name = names.counted(1);
    if (!names.ok() || name.empty()) return false;
    if (!hello_.alpn.empty()) hello_.alpn += ',';
    hello_.alpn += name;
  }
  return !hello_.alpn.empty();
}

bool ClientHelloReader::parse_versions(std::string_view bytes) {
  Reader list(bytes);
  Reader versions(list.counted(1));
  if (!list.ok()) return false;
  unsigned highest = 0;
  while (!versions.empty()) {
    const unsigned version = versions.number(2);
    if (!versions.ok()) return false;
    // Others are there to keep servers from stumbling over what they do not know (RFC 8701).
    if (version >> 8 == 3) highest = std::max(highest, version);
  }
  if (highest) hello_.version = static_cast<uint16_t>(highest);
  return true;
}

}  // namespace weir::net
