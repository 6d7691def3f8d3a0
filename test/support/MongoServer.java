import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.util.List;

/** mongo-java-server for tests: `java -cp '.:jars/*' MongoServer.java PORT`. Prints the port once it listens. */
class TestMongoServer {
  /** What the driver of today asks for at least; the server's own enum tells an older wire version. */
  private static final MongoVersion VERSION =
      new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
          return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
          return 13;
        }
      };

  public static void main(String[] arguments) {
    int port = Integer.parseInt(arguments[0]);
    new MongoServer(H2Backend.inMemory().version(VERSION)).bind("127.0.0.1", port);
    System.out.println(port);
  }
}
