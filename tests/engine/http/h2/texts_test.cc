// Names and values are judged and lowered eight bytes at a time: each place of each length.

#include <catch2/catch.hpp>

#include <string>

#include "engine/http/h2/field_writer.h"
#include "engine/http/h2/multiplexer.h"

using namespace weir::http;
using namespace weir::http::h2;

namespace {

NameVerdict expected_verdict(unsigned char c, bool allow_underscores) {
  if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-') return NameVerdict::valid;
  if (c == '_') return allow_underscores ? NameVerdict::valid : NameVerdict::odd;
  if (c <= 0x20 || c >= 0x7f || c == ':' || (c >= 'A' && c <= 'Z')) return NameVerdict::invalid;
  return NameVerdict::odd;
}

std::string written_name(const std::string& name) {
  FieldWriter& writer = FieldWriter::of_thread();
  writer.clear();
  Header header;
  header.name = name;
  header.value = "v";
  writer.add(header);
  if (writer.size() == 0) return "";
  const nghttp2_nv& field = writer.data()[0];
  return {reinterpret_cast<const char*>(field.name), field.namelen};
}

}  // namespace

TEST_CASE("h2: a name is judged by each of its bytes") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string name = std::string("x-") + static_cast<char>(byte) + "9";
    for (const bool underscores : {false, true}) {
      CAPTURE(byte, underscores);
      CHECK(judge_name(name, underscores) ==
            expected_verdict(static_cast<unsigned char>(byte), underscores));
    }
  }
  CHECK(judge_name("a_!b", true) == NameVerdict::odd);
  CHECK(judge_name("!_A", true) == NameVerdict::invalid);
  CHECK(judge_name("", false) == NameVerdict::valid);
}

TEST_CASE("h2: a value has no zeros and no ends of line, wherever they stand") {
  for (size_t size = 0; size <= 26; ++size) {
    CHECK(is_valid_value(std::string(size, '\x80')));
    CHECK(is_valid_value(std::string(size, '\t')));
    for (size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string value(size, 'v');
        value[at] = static_cast<char>(byte);
        if (is_valid_value(value) == (byte != 0 && byte != '\r' && byte != '\n')) continue;
        CAPTURE(size, at, byte);
        FAIL_CHECK("judged wrongly");
      }
    }
  }
}

TEST_CASE("h2: capitals of a name are lowered, wherever they stand") {
  for (size_t size = 1; size <= 26; ++size) {
    for (size_t at = 0; at < size; ++at) {
      for (int byte = 1; byte < 256; ++byte) {
        std::string name(size, 'n');
        name[at] = static_cast<char>(byte);
        std::string lowered = name;
        // What is no name in HTTP/2 is left away (RFC 9113 section 8.2.1).
        if (byte <= ' ' || byte >= 0x7f || byte == ':') lowered.clear();
        if (byte >= 'A' && byte <= 'Z') lowered[at] = static_cast<char>(byte + 'a' - 'A');
        if (written_name(name) == lowered) continue;
        CAPTURE(size, at, byte);
        FAIL_CHECK("lowered wrongly");
      }
    }
  }
}
