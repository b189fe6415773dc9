// The reader of TLS hellos. Checked: that a hello in pieces is read as the same hello in one piece,
// and that nothing is read beyond what is there.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <source_location>
#include <string_view>

#include "engine/net/client_hello.h"

using namespace weir::net;
using State = ClientHelloReader::State;

namespace {

void require(bool condition, std::source_location at = std::source_location::current()) {
  if (condition) return;
  std::fprintf(stderr, "line %u\n", at.line());
  std::abort();
}

// A copy of exactly this size: reading past its end is seen.
State read(ClientHelloReader& reader, std::string_view text) {
  const std::unique_ptr<char[]> copy(new char[text.size() + 1]);
  text.copy(copy.get(), text.size());
  return reader.read({copy.get(), text.size()});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ClientHelloReader whole;
  const State state = read(whole, text);
  if (state == State::done) {
    require(whole.hello().server_name.size() <= size && whole.hello().alpn.size() <= size);
  }
  // What is decided stays so when more comes.
  for (size_t some = 0; some < size && some < 300; ++some) {
    ClientHelloReader part;
    const State early = read(part, text.substr(0, some));
    if (early == State::need_more) continue;
    require(early == state);
    require(state != State::done || (part.hello().server_name == whole.hello().server_name &&
                                     part.hello().alpn == whole.hello().alpn &&
                                     part.hello().version == whole.hello().version));
    break;
  }
  return 0;
}
