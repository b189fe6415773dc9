#include "golden_case.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "confparse/compiler.h"
#include "confparse/render.h"
#include "confparse/worlds.h"
#include "test_schema.h"

namespace weir::conf::test {

GoldenCase read_golden(const std::filesystem::path& path) {
  GoldenCase golden;
  golden.path = path;
  std::ifstream stream(path, std::ios::binary);
  std::string line;
  std::string* target = &golden.files["nginx.conf"];
  bool in_expected = false;
  while (std::getline(stream, line)) {
    if (!in_expected && line.starts_with("++++ ")) {
      target = &golden.files[line.substr(5)];
    } else if (!in_expected && line == "----") {
      in_expected = true;
      target = &golden.expected;
    } else if (in_expected && line.starts_with("(oracle: no, ")) {
      golden.not_for_oracle = line.substr(13);
      golden.not_for_oracle.pop_back();
    } else {
      *target += line + "\n";
    }
  }
  return golden;
}

std::vector<std::filesystem::path> golden_paths() {
  std::vector<std::filesystem::path> paths;
  // modules/ and examples/ are judged with the real modules, by modules_test.cc.
  for (const char* folder : {"checks", "syntax", "values"}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(WEIR_GOLDEN_FOLDER) / folder)) {
      if (entry.path().extension() == ".golden") paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string print_diagnostics(const GoldenCase& golden) {
  VirtualWorld world;
  world.add_host("localhost", "127.0.0.1");
  for (const auto& [name, text] : golden.files) world.add_file(kGoldenFolder + name, text);
  Sources sources;
  ParseOptions options;
  options.conf_prefix = kGoldenFolder;
  const std::string file = std::string(kGoldenFolder) + "nginx.conf";
  const Tree tree = parse_configuration(world, sources, file, options);
  Compiler compiler(world, sources, test_modules(), kGoldenFolder, kGoldenFolder);
  Scope root(kMain, nullptr);
  compiler.compile(tree, root);
  const std::string printed = render(compiler.diagnostics(), sources, file);
  return printed.empty() ? "ok\n" : printed;
}

}  // namespace weir::conf::test
