import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;

/** Serves the MongoDB protocol on a port of this machine: PORT FILE. */
public final class OneFile {
    private OneFile() {
    }

    public static void main(String[] words) {
        var server = new MongoServer(new H2Backend(words[1]));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        server.bind("127.0.0.1", Integer.parseInt(words[0]));
    }
}
