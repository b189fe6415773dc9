#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "confparse/worlds.h"

using namespace weir::conf;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/weir-world-XXXXXX";
    REQUIRE(mkdtemp(name));
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

}  // namespace

TEST_CASE("answers of the real world replay from a bundle") {
  Folder folder;
  std::ofstream(folder.path + "/b.conf") << "b;";
  std::ofstream(folder.path + "/a.conf") << "a;";
  Bundle bundle;
  RealWorld real(&bundle);
  CHECK(real.read_file(folder.path + "/a.conf").value == "a;");
  CHECK(real.read_file(folder.path + "/none").error == ENOENT);
  CHECK(real.read_file(folder.path).error == EISDIR);
  const std::vector<std::string> both = {folder.path + "/a.conf", folder.path + "/b.conf"};
  CHECK(real.expand(folder.path + "/*.conf").value == both);
  CHECK(real.expand(folder.path + "/*.none").value.empty());
  CHECK(real.is_directory(folder.path).value);
  CHECK(real.user("root").value.user == 0);
  CHECK(real.user("nobody-of-this-name").error != 0);
  CHECK(real.group("root").value == 0);
  const std::string host = real.host_name().value;
  const auto addresses = real.resolve("127.0.0.1", 81).value;
  CHECK(addresses == std::vector<SocketAddress>{address_of_text("127.0.0.1", 81)});

  Bundle copy;
  REQUIRE(Bundle::parse(bundle.serialize(), copy));
  CHECK(copy.size() == bundle.size());
  std::filesystem::remove_all(folder.path);
  ReplayWorld replay(copy);
  CHECK(replay.read_file(folder.path + "/a.conf").value == "a;");
  CHECK(replay.read_file(folder.path + "/none").error == ENOENT);
  CHECK(replay.read_file(folder.path).error == EISDIR);
  CHECK(replay.expand(folder.path + "/*.conf").value == both);
  CHECK(replay.is_directory(folder.path).value);
  CHECK(replay.user("root").value.user == 0);
  CHECK(replay.group("root").value == 0);
  CHECK(replay.host_name().value == host);
  CHECK(replay.resolve("127.0.0.1", 81).value == addresses);
  CHECK(replay.missing() == "");
  CHECK(replay.resolve("127.0.0.1", 82).error != 0);
  CHECK(replay.missing() == "r127.0.0.1\n82");
}

TEST_CASE("no bytes are taken for a bundle that are none") {
  Bundle bundle;
  bundle.record("fa", "text");
  bundle.record("xb", std::string(300, 'x'));
  const std::string bytes = bundle.serialize();
  Bundle out;
  REQUIRE(Bundle::parse(bytes, out));
  for (size_t length = 0; length < bytes.size(); ++length) {
    CHECK_FALSE(Bundle::parse(std::string_view(bytes).substr(0, length), out));
    CHECK(out.size() == 0);
  }
  CHECK_FALSE(Bundle::parse(bytes + "x", out));
  // Answers with false counts inside do not make us allocate or read beyond them.
  Bundle wrong;
  wrong.record("xp", std::string("\0\0\0\0\xff\xff\xff\xff", 8));
  wrong.record("fp", std::string("\0\0\0\0\xff\xff\xff\x7f", 8) + "abc");
  ReplayWorld replay(wrong);
  CHECK(replay.expand("p").error != 0);
  CHECK(replay.read_file("p").error != 0);
}

TEST_CASE("the dry world touches nothing") {
  DryWorld dry;
  CHECK(dry.resolve("nosuch.invalid", 80).value ==
        std::vector<SocketAddress>{address_of_text("127.0.0.1", 80)});
  CHECK(dry.user("root").ok());
  CHECK_FALSE(dry.user("nobody-of-this-name").ok());
  CHECK_FALSE(dry.group("nobody-of-this-name").ok());
}

TEST_CASE("the virtual world is bounded") {
  VirtualWorld world(2, 10);
  world.add_file("/a/1.conf", "12345678");
  world.add_file("/a/b/2.conf", "12");
  CHECK(world.is_directory("/a").value);
  CHECK(world.read_file("/a").error == EISDIR);
  CHECK(world.expand("/a/*.conf").value == std::vector<std::string>{"/a/1.conf"});
  CHECK(world.read_file("/a/1.conf").ok());
  CHECK(world.read_file("/a/1.conf").error == EFBIG);
  CHECK(world.read_file("/a/b/2.conf").ok());
  CHECK(world.read_file("/a/b/2.conf").error == EMFILE);
}
