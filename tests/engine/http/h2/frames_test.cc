// What RFC 9113 and RFC 7541 demand, frame by frame: each file of frames/ is a connection;
// frames/musts.tsv has the demands and the files that show that they are met.

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/engine/http/h2/script_run.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::h2;
using namespace weir::http::h2::test;

namespace {

std::filesystem::path folder() {
  return WEIR_H2_FRAMES;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::map<std::string, std::vector<Step>> scripts() {
  std::map<std::string, std::vector<Step>> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() != ".frames") continue;
    std::string problem;
    auto& steps = all[entry.path().stem().string()];
    steps = parse_script(content(entry.path()), problem);
    INFO(entry.path().filename().string());
    REQUIRE(problem == "");
  }
  return all;
}

std::vector<Role> roles_of(const std::vector<Step>& steps) {
  switch (role_of(steps)) {
    case ScriptRole::server:
      return {Role::server};
    case ScriptRole::client:
      return {Role::client};
    case ScriptRole::both:
      break;
  }
  return {Role::server, Role::client};
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream pieces(text);
  for (std::string piece; std::getline(pieces, piece, at);) parts.push_back(piece);
  return parts;
}

}  // namespace

TEST_CASE("h2: frames that must be taken, refused or ignored") {
  const auto all = scripts();
  CHECK(all.size() > 60);
  for (const auto& [name, steps] : all) {
    const size_t bytes = bytes_of(steps).size();
    for (const Role role : roles_of(steps)) {
      for (const size_t cut : {0, 1, 7}) {
        if (cut != 0 && bytes > 8192) continue;
        ScriptRun(role, steps, cut).run(name);
      }
    }
  }
}

// Section, demand, role, and what shows that it is met: scripts, @rule of the referee, or
// "none: REASON".
TEST_CASE("h2: each demand has its script, each script its demand") {
  const auto all = scripts();
  std::set<std::string> named, rules;
  std::ifstream file(folder() / "musts.tsv");
  std::string line;
  std::getline(file, line);
  REQUIRE(line == "section\tdemand\trole\tshown by");
  for (int number = 2; std::getline(file, line); ++number) {
    INFO("musts.tsv:" << number << ": " << line);
    const auto columns = split(line, '\t');
    REQUIRE(columns.size() == 4);
    const std::string& role = columns[2];
    CHECK((role == "server" || role == "client" || role == "both"));
    if (columns[3].starts_with("none: ")) {
      CHECK(columns[3].size() > 12);
      continue;
    }
    std::set<Role> shown;
    for (const std::string& word : split(columns[3], ' ')) {
      INFO(word);
      if (word.starts_with('@')) {
        CHECK(Referee::rules().contains(word.substr(1)));
        rules.insert(word.substr(1));
        shown.insert({Role::server, Role::client});
        continue;
      }
      auto found = all.find(word);
      CHECK(found != all.end());
      if (found == all.end()) continue;
      named.insert(word);
      for (const Role one : roles_of(found->second)) shown.insert(one);
    }
    CHECK((role == "client" || shown.contains(Role::server)));
    CHECK((role == "server" || shown.contains(Role::client)));
  }
  for (const auto& [name, steps] : all) {
    INFO(name);
    CHECK(named.contains(name));
  }
  for (const auto& [name, text] : Referee::rules()) {
    INFO("@" << name);
    CHECK(rules.contains(name));
  }
}

// Not a test: writes the seeds of the fuzzers, what clients send and what servers answer.
// WEIR_SEEDS names tests/fuzz/seeds.
TEST_CASE("h2: seeds", "[.seeds]") {
  const char* to = std::getenv("WEIR_SEEDS");
  REQUIRE(to != nullptr);
  const std::filesystem::path seeds(to);
  for (const auto& [name, steps] : scripts()) {
    const std::string bytes = bytes_of(steps);
    if (bytes.size() > 16384) continue;
    const bool preface = bytes.starts_with(kPreface);
    const std::string frames = preface ? bytes.substr(kPreface.size()) : bytes;
    for (const Role role : roles_of(steps)) {
      // The fuzzer's flags and cuts, and no preface twice.
      if (role == Role::client) {
        std::ofstream file(seeds / "h2_client_fuzz" / (name + "-peer"), std::ios::binary);
        file << std::string(2, '\0') << frames;
        continue;
      }
      std::ofstream file(seeds / "h2_server_fuzz" / name, std::ios::binary);
      file << std::string(1, preface ? '\0' : '\1') << '\0' << frames;
      ScriptRun script(role, steps, 0);
      script.run(name);
      std::ofstream answer(seeds / "h2_client_fuzz" / name, std::ios::binary);
      answer << std::string(2, '\0') << script.answered().substr(0, 8192);
    }
  }
}
