import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The merge as a user of Kafka Streams writes it: {@code groupByKey().aggregate()} on a store with a changelog, and every
 * setting as it comes.  A state has {@code "key": [value, timestamp, offset]} of the latest event with that key.
 *
 * <p>{@code Merger merge EVENTS} ends when so many events are merged and committed, and says {@code merged N} on the way;
 * {@code Merger restore PARTITIONS} ends when the store is filled from its changelog, after {@code restoring} and
 * {@code restored N}.
 */
public class Merger {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String STORE = "state";

    record Versioned(JsonNode data, long timestamp, long offset) {}

    public static void main(String[] arguments) throws InterruptedException {
        long count = Long.parseLong(arguments[1]);
        Progress progress = new Progress(count);
        Restoring restoring = new Restoring((int) count);
        Map<String, String> names = System.getenv();
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, names.get("APPLICATION"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, names.get("KAFKA_BOOTSTRAP_SERVERS"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, names.get("STATE_DIRECTORY"));
        settings.put(StreamsConfig.producerPrefix("acks"), "all");
        KafkaStreams streams = new KafkaStreams(topology(names.get("EVENTS"), names.get("STATE"), progress), settings);
        streams.setGlobalStateRestoreListener(restoring);
        streams.start();
        (arguments[0].equals("restore") ? restoring.done : progress.done).await();
        streams.close();
        System.out.println("closed");
        // Whoever watches it reads its processor time now, and kills it.
        Thread.currentThread().join();
    }

    static Topology topology(String events, String state, Progress progress) {
        StreamsBuilder builder = new StreamsBuilder();
        Materialized<String, ObjectNode, KeyValueStore<Bytes, byte[]>> store = Materialized.as(STORE);
        builder.stream(events, Consumed.with(Serdes.String(), json(JsonNode.class)))
                .processValues(() -> new Stamp(progress))
                .groupByKey()
                .aggregate(JSON::createObjectNode, Merger::merge,
                        store.withKeySerde(Serdes.String()).withValueSerde(json(ObjectNode.class)))
                .toStream()
                .to(state, Produced.with(Serdes.String(), json(ObjectNode.class)));
        return builder.build();
    }

    static ObjectNode merge(String key, Versioned event, ObjectNode state) {
        for (Map.Entry<String, JsonNode> field : event.data().properties()) {
            JsonNode stored = state.get(field.getKey());
            if (stored == null || isLater(event, stored)) {
                state.putArray(field.getKey()).add(field.getValue()).add(event.timestamp()).add(event.offset());
            }
        }
        return state;
    }

    private static boolean isLater(Versioned event, JsonNode stored) {
        long timestamp = stored.get(1).longValue();
        return event.timestamp() > timestamp
                || event.timestamp() == timestamp && event.offset() > stored.get(2).longValue();
    }

    /** Puts timestamp and offset beside the data of an event. */
    static class Stamp extends ContextualFixedKeyProcessor<String, JsonNode, Versioned> {
        private final Progress progress;

        Stamp(Progress progress) {
            this.progress = progress;
        }

        @Override
        public void process(FixedKeyRecord<String, JsonNode> event) {
            long offset = context().recordMetadata().orElseThrow().offset();
            context().forward(event.withValue(new Versioned(event.value().get("data"), event.timestamp(), offset)));
            progress.count();
        }
    }

    /** Counts events, and says how many were merged, each hundredth of them. */
    static class Progress {
        final CountDownLatch done = new CountDownLatch(1);
        private final AtomicLong merged = new AtomicLong();
        private final long all, step;

        Progress(long all) {
            this.all = all;
            this.step = Math.max(1, all / 100);
        }

        void count() {
            long now = merged.incrementAndGet();
            if (now == 1 || now % step == 0) {
                System.out.println("merged " + now);
            }
            if (now == all) {
                done.countDown();
            }
        }
    }

    /** Says when the first partition begins to be restored, and when the last one is. */
    static class Restoring implements StateRestoreListener {
        final CountDownLatch done = new CountDownLatch(1);
        private int left;
        private long records;
        private boolean begun;

        Restoring(int partitions) {
            this.left = partitions;
        }

        @Override
        public synchronized void onRestoreStart(TopicPartition partition, String store, long first, long last) {
            if (!begun) {
                System.out.println("restoring");
            }
            begun = true;
        }

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long last, long count) {}

        @Override
        public synchronized void onRestoreEnd(TopicPartition partition, String store, long count) {
            records += count;
            if (--left == 0) {
                System.out.println("restored " + records);
                done.countDown();
            }
        }
    }

    static <T extends JsonNode> Serde<T> json(Class<T> type) {
        return Serdes.serdeFrom((topic, node) -> write(node), (topic, bytes) -> read(bytes, type));
    }

    private static byte[] write(JsonNode node) {
        try {
            return node == null ? null : JSON.writeValueAsBytes(node);
        } catch (JsonProcessingException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static <T extends JsonNode> T read(byte[] bytes, Class<T> type) {
        try {
            return bytes == null ? null : type.cast(JSON.readTree(bytes));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
