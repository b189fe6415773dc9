// The directives of the real modules: tests/golden/modules/NAME.golden holds an accepted and one or
// more refused configurations, divided by lines "====", each with what is printed (see
// golden_case.h). A name that stands in several blocks as different directives ends in ".main",
// ".upstream" or ".stream".

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "confparse/render.h"
#include "confparse/worlds.h"
#include "engine/process/compile_generation.h"
#include "modules/all.h"

namespace {

namespace fs = std::filesystem;
using weir::conf::Directive;

constexpr std::string_view kBetween = "====\n";
constexpr std::string_view kExpected = "----\n";

struct Judged {
  bool ok = false;
  std::string printed;
};

Judged judge(const std::string& text) {
  weir::conf::VirtualWorld world;
  world.add_host("localhost", "127.0.0.1");
  world.add_file("/etc/nginx/nginx.conf", text);
  world.add_file("/etc/nginx/ticket.key", std::string(80, 'k'));
  weir::process::Locations locations;
  locations.prefix = "/etc/nginx/";
  locations.conf_prefix = "/etc/nginx/";
  locations.conf_file = "/etc/nginx/nginx.conf";
  locations.error_log = "/etc/nginx/logs/error.log";
  const auto compiled = weir::process::compile_generation(world, weir::all_modules(), locations, 1);
  std::string printed =
      weir::conf::render(compiled.diagnostics, *compiled.sources, locations.conf_file);
  return {compiled.ok, printed.empty() ? "ok\n" : printed};
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream whole;
  whole << in.rdbuf();
  return whole.str();
}

// Judges one case of a file and returns it with what was printed.
std::string judged_case(const std::string& part, bool& ok) {
  const size_t line = part.find(kExpected);
  REQUIRE(line != std::string::npos);
  const std::string text = part.substr(0, line);
  const Judged judged = judge(text);
  ok = judged.ok;
  return text + std::string(kExpected) + judged.printed;
}

std::string file_name(const Directive& directive) {
  std::string name(directive.name);
  if (directive.where == weir::conf::kUpstream) name += ".upstream";
  if (directive.where == weir::conf::kStreamUpstream) name += ".upstream";
  const uint32_t stream =
      weir::conf::kStream | weir::conf::kStreamServer | weir::conf::kStreamUpstream;
  if ((directive.where & ~stream) == 0) name += ".stream";
  if ((directive.where & ~(weir::conf::kMain | weir::conf::kEvents)) == 0) name += ".main";
  return name + ".golden";
}

}  // namespace

// WEIR_GOLDEN_WRITE=1 writes what is printed into the files instead of comparing (read the diff).
TEST_CASE("every directive has an accepted and a refused case") {
  const fs::path folder = WEIR_GOLDEN_MODULES;
  std::set<std::string> wanted;
  for (const weir::conf::Module* module : weir::all_modules()) {
    for (const Directive& directive : module->directives) wanted.insert(file_name(directive));
  }
  REQUIRE(wanted.size() > 150);
  for (const std::string& name : wanted) {
    CAPTURE(name);
    const std::string text = read(folder / name);
    const size_t between = text.find(kBetween);
    if (between == std::string::npos) {
      FAIL_CHECK("no file with two cases");
      continue;
    }
    bool good = false;
    std::string now = judged_case(text.substr(0, between), good);
    CHECK(good);
    for (size_t end = between; end != std::string::npos;) {
      const size_t begin = end + kBetween.size();
      end = text.find(kBetween, begin);
      now += kBetween;
      now += judged_case(text.substr(begin, end == std::string::npos ? end : end - begin), good);
      CHECK_FALSE(good);
    }
    if (std::getenv("WEIR_GOLDEN_WRITE")) {
      std::ofstream(folder / name, std::ios::binary) << now;
    } else {
      CHECK(now == text);
    }
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    CAPTURE(entry.path().filename().string());
    CHECK(wanted.count(entry.path().filename().string()) == 1);
  }
}

// What people copied from books and answers: refused, with an explanation.
TEST_CASE("wrong examples are explained") {
  const fs::path folder = WEIR_GOLDEN_EXAMPLES;
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    CAPTURE(entry.path().filename().string());
    const std::string text = read(entry.path());
    bool ok = true;
    const std::string now = judged_case(text, ok);
    CHECK_FALSE(ok);
    if (std::getenv("WEIR_GOLDEN_WRITE")) {
      std::ofstream(entry.path(), std::ios::binary) << now;
    } else {
      CHECK(now == text);
    }
    ++count;
  }
  CHECK(count >= 5);
}
