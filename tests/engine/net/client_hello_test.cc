#include <catch2/catch.hpp>

#include <string>

#include "engine/net/client_hello.h"

using weir::net::ClientHelloReader;
using State = ClientHelloReader::State;

namespace {

std::string number(size_t value, size_t size) {
  std::string bytes;
  for (size_t i = size; i-- > 0;) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}
std::string counted(const std::string& text, size_t size) {
  return number(text.size(), size) + text;
}
std::string extension(unsigned type, const std::string& content) {
  return number(type, 2) + counted(content, 2);
}
std::string server_name(const std::string& name, unsigned type = 0) {
  return extension(0, counted(number(type, 1) + counted(name, 2), 2));
}
std::string protocols(const std::string& names) {
  return extension(16, counted(names, 2));
}
std::string message(const std::string& extensions, unsigned version = 0x303) {
  const std::string body = number(version, 2) + std::string(32, 'r') + counted("", 1) +
                           counted("\x13\x01", 2) + counted(std::string(1, '\0'), 1) +
                           counted(extensions, 2);
  return "\x01" + counted(body, 3);
}
std::string record(const std::string& bytes) {
  return "\x16\x03\x01" + counted(bytes, 2);
}

struct Result {
  State state;
  weir::net::ClientHello hello;
};
Result read(const std::string& bytes) {
  ClientHelloReader reader;
  const State state = reader.read(bytes);
  return {state, reader.hello()};
}

}  // namespace

TEST_CASE("client hello: names, protocols, versions", "[net]") {
  const std::string extensions = server_name("Foo.example") +
                                 protocols(counted("h2", 1) + counted("http/1.1", 1)) +
                                 extension(43, counted("\x7a\x7a\x03\x04\x03\x03", 1));
  const Result result = read(record(message(extensions)) + "what follows");
  REQUIRE(result.state == State::done);
  CHECK(result.hello.server_name == "Foo.example");
  CHECK(result.hello.alpn == "h2,http/1.1");
  CHECK(result.hello.version == 0x304);
  CHECK(read(record(message(""))).hello.version == 0x303);
}

TEST_CASE("client hello: every cut waits for more", "[net]") {
  const std::string whole = message(server_name("a.b"));
  const std::string bytes = record(whole.substr(0, 2)) + record("") + record(whole.substr(2, 20)) +
                            record(whole.substr(22));
  for (size_t size = 0; size < bytes.size(); ++size) {
    INFO(size);
    CHECK(read(bytes.substr(0, size)).state == State::need_more);
  }
  const Result result = read(bytes);
  REQUIRE(result.state == State::done);
  CHECK(result.hello.server_name == "a.b");
}

TEST_CASE("client hello: what is none", "[net]") {
  CHECK(read("GET / HTTP/1.1\r\n").state == State::not_tls);
  CHECK(read(std::string("\x15\x03\x01\x00\x02..", 7)).state == State::not_tls);
  CHECK(read(std::string("\x16\x02\x05\x00\x10", 5)).state == State::not_tls);
  CHECK(read("\x80\x2e\x01\x03\x01 ...").hello.version == 0x301);
  CHECK(read(record(std::string("\x02\x00\x00\x02..", 6))).state == State::broken);
  CHECK(read("\x16\x03\x01\xff\xff" + std::string(100, 'x')).state == State::broken);
  for (const std::string& extensions :
       {server_name("a.b", 1), server_name("a") + server_name("b"), server_name("a") + "x",
        extension(0, "x"), protocols(""), protocols(counted("", 1)), protocols("\x05x")}) {
    CHECK(read(record(message(extensions))).state == State::broken);
  }
}
