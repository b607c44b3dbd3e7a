import alluxio.client.file.FileSystem;
import alluxio.conf.Configuration;
import alluxio.conf.InstancedConfiguration;
import alluxio.conf.PropertyKey;
import alluxio.conf.Source;

/** Alluxio's own client, configured from "key=value" arguments. */
final class Clients {
  private Clients() {}

  static FileSystem open(String[] settings, int from) {
    InstancedConfiguration configuration = new InstancedConfiguration(Configuration.copyProperties());
    for (int i = from; i < settings.length; i++) {
      int equals = settings[i].indexOf('=');
      PropertyKey key = PropertyKey.fromString(settings[i].substring(0, equals));
      configuration.set(key, key.parseValue(settings[i].substring(equals + 1)), Source.RUNTIME);
    }
    return FileSystem.Factory.create(configuration);
  }
}
