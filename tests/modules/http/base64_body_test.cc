#include "modules/http/base64_body.h"

#include <catch2/catch.hpp>
#include <string>

using namespace weir;
using namespace weir::http;

namespace {

std::string text_of(const Chain& chain) {
  std::string text;
  for (size_t i = 0; i < chain.count(); ++i) text += chain[i].view();
  return text;
}

// Fed in pieces of `step` characters; "!" when it is refused.
std::string decoded(std::string_view text, size_t step, bool* unfinished = nullptr) {
  Base64Decoder decoder;
  Chain out;
  for (size_t at = 0; at < text.size(); at += step) {
    if (!decoder.decode(text.substr(at, step), out)) return "!";
  }
  if (unfinished) *unfinished = decoder.unfinished();
  return text_of(out);
}

std::string encoded(std::string_view text) {
  Chain data;
  data.push(Slice::copy_of(text));
  return text_of(encode_base64(std::move(data)));
}

}  // namespace

TEST_CASE("base64 in pieces of any size") {
  for (const size_t step : {1, 2, 3, 4, 5, 100}) {
    CHECK(decoded("aGVsbG8gd29ybGQ=", step) == "hello world");
    CHECK(decoded("aA==", step) == "h");
    CHECK(decoded("", step).empty());
    CHECK(decoded("AP+/", step) == std::string("\x00\xff\xbf", 3));
  }
}

TEST_CASE("several padded texts in a row are one stream") {
  CHECK(decoded("aA==aGU=aGVs", 3) == "hhehel");
}

TEST_CASE("what is not base64 is refused") {
  for (const char* text : {"a GVs", "=AAA", "A===", "AA=A", "aGV*", "aGVs\n"}) {
    CAPTURE(text);
    CHECK(decoded(text, 100) == "!");
    CHECK(decoded(text, 1) == "!");
  }
}

TEST_CASE("a group that is not whole is known") {
  bool unfinished = false;
  CHECK(decoded("aGVsbG", 100, &unfinished) == "hel");
  CHECK(unfinished);
  CHECK(decoded("aGVs", 100, &unfinished) == "hel");
  CHECK_FALSE(unfinished);
}

TEST_CASE("what is encoded is decoded to the same") {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += static_cast<char>(i * 7 + i / 256);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}, text.size()}) {
    const std::string part = text.substr(0, size);
    CHECK(encoded(part).size() == (size + 2) / 3 * 4);
    CHECK(decoded(encoded(part), 1000) == part);
  }
  CHECK(encoded("hello world") == "aGVsbG8gd29ybGQ=");
}

TEST_CASE("a few bytes of base64 hold no large block") {
  Base64Decoder decoder;
  Chain plain;
  REQUIRE(decoder.decode("QUJD", plain));
  REQUIRE(plain.count() == 1);
  CHECK(plain.front().block()->capacity() <= 16);
  Chain encoded = encode_base64(std::move(plain));
  REQUIRE(encoded.count() == 1);
  CHECK(encoded.front().block()->capacity() <= 16);
  Chain large;
  REQUIRE(decoder.decode(std::string(100000, 'A'), large));
  CHECK(large.bytes() == 75000);
  CHECK(large.count() == 3);
}
